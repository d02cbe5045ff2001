// The C entry points: argument checks, the floating point environment, and no exception leaves.
#include <cmath>
#include <cstring>
#include <memory>

#include "../kernels/assign/grid_index.hpp"
#include "../kernels/assign/variants.hpp"
#include "backend.hpp"
#include "chunk.hpp"
#include "cpu.hpp"
#include "exact_sum.hpp"
#include "failure.hpp"
#include "float_environment.hpp"
#include "hash128.hpp"
#include "orientation.hpp"

using tileloom::Failure;
using tileloom::FloatEnvironment;
using tileloom::guard;
using tileloom::require;

struct tl_layer {
  std::shared_ptr<const tileloom::Layer> layer;
};

struct tl_chunk {
  std::unique_ptr<tileloom::AnyChunk> chunk;
};

struct tl_rows {
  std::unique_ptr<tileloom::BatchRows> batch;
};

namespace {

void require_rules(uint32_t boundary, uint32_t overlap) {
  require(boundary <= TL_BOUNDARY_CONTAINS, "has an unknown boundary rule");
  require(overlap <= TL_OVERLAP_ERROR, "has an unknown overlap rule");
}

constexpr uint32_t kMeasuresMax = 64;

// Calls the function on blocks of points, copying x only to wrap it.
void assign_in_memory(tl_assign_fn assign, tl_assign_args &args, bool wrap) {
  std::vector<double> wrapped;
  if (wrap) {
    wrapped.assign(args.x, args.x + args.rows);
    tileloom::wrap_longitudes(wrapped.data(), args.rows);
    args.x = wrapped.data();
  }
  char text[256] = "";
  const int status = assign(&args, text, sizeof text);
  if (status != TL_OK) {
    Failure failure(status, text);
    failure.row = status == TL_OVERLAP_FOUND ? args.error_row : -1;
    throw failure;
  }
}

}  // namespace

extern "C" {

int tl_abi_version(void) { return TL_ABI_VERSION; }

int tl_cpu_features(uint64_t *bits) {
  return guard(nullptr, [&] {
    require(bits != nullptr, "bits is null");
    *bits = tileloom::cpu_features();
  });
}

int tl_hash128(const void *bytes, uint64_t size, uint8_t out[16]) {
  return guard(nullptr, [&] {
    require((bytes != nullptr || size == 0) && out != nullptr, "has null arguments");
    std::memcpy(out, tileloom::hash128(bytes, size).bytes, 16);
  });
}

int tl_orientation_sign(const double *abp, int32_t *sign, tl_error *error) {
  return guard(error, [&] {
    require(abp != nullptr && sign != nullptr, "has null arguments");
    for (int index = 0; index < 6; ++index) {
      require(std::isfinite(abp[index]), "has a coordinate that is not finite");
    }
    const FloatEnvironment environment;
    *sign = tileloom::orientation_sign(abp[0], abp[1], abp[2], abp[3], abp[4], abp[5]);
  });
}

int tl_exact_sum(const double *values, const uint8_t *validity, uint64_t count, uint64_t splits,
                 tl_sum_result *out, tl_error *error) {
  return guard(error, [&] {
    require((values != nullptr || count == 0) && out != nullptr && splits > 0,
            "has null arguments or no split");
    const FloatEnvironment environment;
    *out = tileloom::exact_sum(values, validity, count, splits);
  });
}

int tl_index_build(const char *geometry_path, const uint8_t geometry_sha256[32],
                   const char *index_path, uint32_t boundary, uint32_t overlap, uint64_t bytes_max,
                   uint32_t durable, tl_index_info *info, tl_error *error) {
  return guard(error, [&] {
    require(geometry_path != nullptr && geometry_sha256 != nullptr && index_path != nullptr,
            "has null arguments");
    require_rules(boundary, overlap);
    const FloatEnvironment environment;
    const tl_index_info built = tileloom::build_index(
        {geometry_path, geometry_sha256, index_path, boundary, overlap, bytes_max, durable != 0});
    if (info != nullptr) {
      *info = built;
    }
  });
}

int tl_layer_open(const char *geometry_path, const uint8_t geometry_sha256[32],
                  const char *index_path, tl_layer **out, tl_layer_info *info, tl_error *error) {
  return guard(error, [&] {
    require(geometry_path != nullptr && geometry_sha256 != nullptr && out != nullptr,
            "has null arguments");
    const FloatEnvironment environment;
    auto handle = std::make_unique<tl_layer>();
    auto layer =
        std::make_shared<const tileloom::Layer>(geometry_path, geometry_sha256, index_path);
    if (info != nullptr) {
      *info = layer->info();
    }
    handle->layer = std::move(layer);
    *out = handle.release();
  });
}

int tl_layer_close(tl_layer *layer) {
  delete layer;
  return TL_OK;
}

int tl_assign_points(tl_layer *layer, const char *library, const char *symbol, uint32_t boundary,
                     uint32_t overlap, uint32_t wrap, uint64_t rows, const double *x,
                     const double *y, int32_t *ids, int32_t *pairs, uint64_t pairs_capacity,
                     uint64_t *pairs_used, tl_error *error) {
  tl_assign_args args{};
  const int status = guard(error, [&] {
    require(layer != nullptr && symbol != nullptr, "has null arguments");
    require_rules(boundary, overlap);
    args.struct_bytes = sizeof args;
    args.boundary = boundary;
    args.overlap = overlap;
    args.layer = &layer->layer->view();
    args.rows = rows;
    args.x = x;
    args.y = y;
    args.ids = ids;
    args.pairs = pairs;
    args.pairs_capacity = pairs_capacity;
    args.error_row = -1;
    assign_in_memory(tileloom::find_any_assign(library, symbol), args, wrap != 0);
  });
  if (pairs_used != nullptr) {
    *pairs_used = args.pairs_used;
  }
  return status;
}

int tl_chunk_open(tl_layer *layer, const char *library, const char *symbol,
                  const tl_chunk_options *options, tl_chunk **out, tl_error *error) {
  return guard(error, [&] {
    require(layer != nullptr && symbol != nullptr && options != nullptr && out != nullptr,
            "has null arguments");
    require(options->struct_bytes >= sizeof *options, "has options of another ABI version");
    require_rules(options->boundary, options->overlap);
    require(options->measures <= kMeasuresMax, "has more than 64 measures");
    *out = new tl_chunk{tileloom::open_chunk(layer->layer, library, symbol, *options)};
  });
}

int tl_chunk_estimate(tl_chunk *chunk, uint64_t tile_rows, uint64_t batch_rows, uint64_t *bytes) {
  return guard(nullptr, [&] {
    require(chunk != nullptr && bytes != nullptr, "has null arguments");
    *bytes = chunk->chunk->bytes_max(tile_rows, batch_rows);
  });
}

int tl_chunk_run(tl_chunk *chunk, const char *paths, uint64_t paths_bytes, uint64_t files,
                 const tl_tile_in *tiles, uint64_t tile_count, const tl_column_in *columns,
                 uint64_t column_count, tl_tile_out *tiles_out, tl_batch_out *batch_out,
                 tl_rows **rows_out, tl_error *error) {
  return guard(error, [&] {
    require(chunk != nullptr && batch_out != nullptr && rows_out != nullptr, "has null arguments");
    require(tile_count == 0 || (paths != nullptr && tiles != nullptr && columns != nullptr &&
                                tiles_out != nullptr),
            "has null arguments");
    *rows_out = nullptr;
    auto rows = std::make_unique<tl_rows>();
    rows->batch =
        chunk->chunk->run({paths, paths_bytes, files, tiles, tile_count, columns, column_count},
                          tiles_out, batch_out);
    if (rows->batch != nullptr) {
      *rows_out = rows.release();
    }
  });
}

int tl_rows_take(tl_rows *rows, int32_t *out, uint64_t capacity) {
  const std::unique_ptr<tl_rows> owned(rows);
  return guard(nullptr, [&] {
    if (owned == nullptr || out == nullptr) {
      return;
    }
    const tileloom::RowValues &values = owned->batch->rows;
    if (capacity < values.used) {
      throw Failure(TL_BUFFER_TOO_SMALL, "is too small");
    }
    std::memcpy(out, values.values.data(), values.used * sizeof(int32_t));
  });
}

int tl_chunk_progress(tl_chunk *chunk, uint64_t *tiles) {
  return guard(nullptr, [&] {
    require(chunk != nullptr && tiles != nullptr, "has null arguments");
    *tiles = chunk->chunk->tiles_done();
  });
}

int tl_chunk_cancel(tl_chunk *chunk) {
  return guard(nullptr, [&] {
    require(chunk != nullptr, "is null");
    chunk->chunk->cancel();
  });
}

int tl_chunk_peak(tl_chunk *chunk, uint64_t *bytes) {
  return guard(nullptr, [&] {
    require(chunk != nullptr && bytes != nullptr, "has null arguments");
    *bytes = chunk->chunk->peak_bytes();
  });
}

int tl_chunk_finish(tl_chunk *chunk, uint64_t *bytes, tl_error *error) {
  return guard(error, [&] {
    require(chunk != nullptr && bytes != nullptr, "has null arguments");
    *bytes = chunk->chunk->finish().size();
  });
}

int tl_chunk_partials(tl_chunk *chunk, uint8_t *out, uint64_t capacity) {
  return guard(nullptr, [&] {
    require(chunk != nullptr && out != nullptr, "has null arguments");
    const std::vector<uint8_t> &bytes = chunk->chunk->partials();
    if (capacity < bytes.size()) {
      throw Failure(TL_BUFFER_TOO_SMALL, "is too small");
    }
    std::memcpy(out, bytes.data(), bytes.size());
  });
}

int tl_chunk_close(tl_chunk *chunk) {
  delete chunk;
  return TL_OK;
}

}  // extern "C"
