// assign/grid-avx2@1: the grid query, four points or four edges at a time, with AVX2 and FMA.
// The only file built with -mavx2 -mfma: nothing in it may be shared with other files by the
// linker.
#include <immintrin.h>

#include "grid_query.hpp"

namespace tileloom {

// Compiled without AVX2, since it runs before we know that the processor has it.
int require_avx2(char *text, uint64_t text_bytes);

namespace {

// Byte shuffles that move the chosen of four 32-bit values to the front.
struct Compaction {
  alignas(16) uint8_t order[16][16];
};

constexpr Compaction make_compaction() {
  Compaction table{};
  for (int chosen = 0; chosen < 16; ++chosen) {
    int next = 0;
    for (int lane = 0; lane < 4; ++lane) {
      if ((chosen >> lane & 1) != 0) {
        for (int byte = 0; byte < 4; ++byte) {
          table.order[chosen][4 * next + byte] = static_cast<uint8_t>(4 * lane + byte);
        }
        ++next;
      }
    }
    for (int byte = 4 * next; byte < 16; ++byte) {
      table.order[chosen][byte] = 0x80;
    }
  }
  return table;
}

constexpr Compaction kCompaction = make_compaction();

struct Avx2Ops {
  struct Point {
    __m256d x, y, band;
    __m256d close = _mm256_setzero_pd();
    Point(double x_, double y_, double band_)
        : x(_mm256_set1_pd(x_)), y(_mm256_set1_pd(y_)), band(_mm256_set1_pd(band_)) {}
    bool undecided() const { return _mm256_movemask_pd(close) != 0; }
  };

  // Crossing bits of four edges. The crossing's x has an error of at most 9 u M (one FMA), below
  // the band of 16 u M. Failures are collected and looked at once per cell.
  template <bool kBorders>
  static uint32_t block(const double *edges, Point &point) {
    const __m256d y1 = _mm256_load_pd(edges);
    const __m256d y2 = _mm256_load_pd(edges + 4);
    const __m256d spans = _mm256_xor_pd(_mm256_cmp_pd(y1, point.y, _CMP_GT_OQ),
                                        _mm256_cmp_pd(y2, point.y, _CMP_GT_OQ));
    const __m256d crossing_x = _mm256_fmadd_pd(
        _mm256_sub_pd(point.y, y1), _mm256_load_pd(edges + 12), _mm256_load_pd(edges + 8));
    const __m256d distance = _mm256_sub_pd(point.x, crossing_x);
    const __m256d magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), distance);
    const __m256d near = _mm256_cmp_pd(magnitude, point.band, _CMP_NGT_UQ);
    const __m256d reaches = kBorders ? _mm256_and_pd(_mm256_cmp_pd(y1, point.y, _CMP_LE_OQ),
                                                     _mm256_cmp_pd(point.y, y2, _CMP_LE_OQ))
                                     : spans;
    point.close = _mm256_or_pd(point.close, _mm256_and_pd(reaches, near));
    return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_and_pd(spans, distance)));
  }

  static int locate(const Grid &grid, const double *x, const double *y, int count, int32_t *ids,
                    Pending &pending) {
    const IndexHeader &header = *grid.header;
    const __m256d x0 = _mm256_set1_pd(header.x0);
    const __m256d y0 = _mm256_set1_pd(header.y0);
    const __m256d per_x = _mm256_set1_pd(header.cells_per_x);
    const __m256d per_y = _mm256_set1_pd(header.cells_per_y);
    const __m256d columns = _mm256_set1_pd(header.columns);
    const __m256d rows = _mm256_set1_pd(header.rows);
    const __m256d zero = _mm256_setzero_pd();
    const __m128i stride = _mm_set1_epi32(static_cast<int>(header.columns));
    const __m128i outside = _mm_set1_epi32(TL_OUTSIDE);
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    __m128i points = _mm_setr_epi32(0, 1, 2, 3);
    int waiting = 0;
    int point = 0;
    for (; point + 4 <= count; point += 4) {
      const __m256d px = _mm256_loadu_pd(x + point);
      const __m256d py = _mm256_loadu_pd(y + point);
      const __m256d column = _mm256_mul_pd(_mm256_sub_pd(px, x0), per_x);
      const __m256d row = _mm256_mul_pd(_mm256_sub_pd(py, y0), per_y);
      const __m256d in_x = _mm256_and_pd(_mm256_cmp_pd(column, zero, _CMP_GE_OQ),
                                         _mm256_cmp_pd(column, columns, _CMP_LT_OQ));
      const __m256d in_y =
          _mm256_and_pd(_mm256_cmp_pd(row, zero, _CMP_GE_OQ), _mm256_cmp_pd(row, rows, _CMP_LT_OQ));
      const __m256d inside = _mm256_and_pd(in_x, in_y);
      // x - x is NaN for NaN and infinities, else 0: those points become -1 + -1 = TL_INVALID.
      const __m256d rest = _mm256_add_pd(_mm256_sub_pd(px, px), _mm256_sub_pd(py, py));
      const __m256d invalid = _mm256_cmp_pd(rest, rest, _CMP_UNORD_Q);
      const __m128i mask = narrow(inside, even);
      const __m128i fallback = _mm_add_epi32(outside, narrow(invalid, even));
      const __m128i cell = _mm_add_epi32(_mm_mullo_epi32(_mm256_cvttpd_epi32(row), stride),
                                         _mm256_cvttpd_epi32(column));
      const __m128i value = _mm_mask_i32gather_epi32(fallback, grid.cells, cell, mask, 4);
      _mm_storeu_si128(reinterpret_cast<__m128i *>(ids + point), value);
      const __m128i bordered = _mm_and_si128(mask, _mm_cmplt_epi32(value, outside));
      const int chosen = _mm_movemask_ps(_mm_castsi128_ps(bordered));
      const __m128i order =
          _mm_load_si128(reinterpret_cast<const __m128i *>(kCompaction.order[chosen]));
      _mm_storeu_si128(reinterpret_cast<__m128i *>(pending.point + waiting),
                       _mm_shuffle_epi8(points, order));
      _mm_storeu_si128(reinterpret_cast<__m128i *>(pending.value + waiting),
                       _mm_shuffle_epi8(value, order));
      waiting += __builtin_popcount(static_cast<unsigned>(chosen));
      points = _mm_add_epi32(points, _mm_set1_epi32(4));
    }
    for (; point < count; ++point) {
      waiting += locate_one(grid, x[point], y[point], point, ids, pending, waiting);
    }
    return waiting;
  }

 private:
  static __m128i narrow(__m256d mask, __m256i even) {
    return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(_mm256_castpd_si256(mask), even));
  }

  static int locate_one(const Grid &grid, double x, double y, int point, int32_t *ids,
                        Pending &pending, int waiting) {
    const int64_t cell = cell_of(*grid.header, x, y);
    if (cell < 0) {
      ids[point] = is_finite(x) && is_finite(y) ? TL_OUTSIDE : TL_INVALID;
      return 0;
    }
    ids[point] = grid.cells[cell];
    pending.point[waiting] = point;
    pending.value[waiting] = ids[point];
    return ids[point] < TL_OUTSIDE ? 1 : 0;
  }
};

}  // namespace
}  // namespace tileloom

extern "C" int tl_assign__grid__fp64__avx2(tl_assign_args *args, char *text, uint64_t text_bytes) {
  const int status = tileloom::require_avx2(text, text_bytes);
  if (status != TL_OK) {
    return status;
  }
  return tileloom::assign_on_grid<tileloom::Avx2Ops>(args, text, text_bytes);
}
