#include "grid_index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "../../core/failure.hpp"
#include "../../core/geometry_file.hpp"
#include "../../core/hash128.hpp"
#include "grid_pack.hpp"

namespace tileloom {
namespace {

constexpr char kMagic[8] = {'T', 'L', 'I', 'D', 'X', '0', '0', '1'};
constexpr double kCellsPerSqrtEdge = 8;
constexpr double kSideMin = 16;
constexpr double kSideMax = 4096;
constexpr double kAspectMax = 16;
constexpr uint32_t kUnboundedSide = 64;  // grids this small are built whatever they take

uint64_t align64(uint64_t value) { return (value + 63) / 64 * 64; }

struct Box {
  double min_x = HUGE_VAL;
  double min_y = HUGE_VAL;
  double max_x = -HUGE_VAL;
  double max_y = -HUGE_VAL;
};

Box box_of(const tl_layer_view &layer) {
  Box box;
  for (uint64_t part = 0; part < layer.parts; ++part) {
    const double *one = layer.part_boxes + 4 * part;
    box.min_x = std::min(box.min_x, one[0]);
    box.min_y = std::min(box.min_y, one[1]);
    box.max_x = std::max(box.max_x, one[2]);
    box.max_y = std::max(box.max_y, one[3]);
  }
  return box;
}

// Lays a grid of this many cells over the box; false where it cannot be proven exact.
bool lay_grid(IndexHeader &header, const Box &box, double magnitude, uint32_t columns,
              uint32_t rows) {
  const double margin = 256 * kUlpHalf * magnitude;
  const double width = box.max_x - box.min_x;
  const double height = box.max_y - box.min_y;
  const double x1 = box.max_x + std::max(width * 1e-9, margin);
  const double y1 = box.max_y + std::max(height * 1e-9, margin);
  header.columns = columns;
  header.rows = rows;
  header.x0 = box.min_x;
  header.y0 = box.min_y;
  header.cells_per_x = columns / (x1 - box.min_x);
  header.cells_per_y = rows / (y1 - box.min_y);
  return std::isnormal(header.cells_per_x) && std::isnormal(header.cells_per_y) &&
         grid_fits(header, magnitude) && cell_of(header, box.min_x, box.min_y) >= 0 &&
         cell_of(header, box.max_x, box.max_y) >= 0;
}

struct Shape {
  uint32_t columns;
  uint32_t rows;
};

// About 8 cells per square root of the number of edges a side: 2048 for US counties, 4096 for world
// countries (reference: 2048 to 4096 a side), cells nearly square, table within an eighth of the
// target.
Shape choose_shape(uint64_t vertices, const Box &box, uint64_t bytes_max) {
  const double wanted = kCellsPerSqrtEdge * std::sqrt(static_cast<double>(vertices));
  const double afford = std::sqrt(static_cast<double>(bytes_max) / 32);
  const double power = std::exp2(std::ceil(std::log2(std::max(wanted, 1.0))));
  const double side = std::max(std::min({power, kSideMax, afford}), kSideMin);
  const double ratio = (box.max_x - box.min_x) / (box.max_y - box.min_y);
  const double aspect = std::sqrt(std::min(std::max(ratio, 1 / kAspectMax), kAspectMax));
  return {static_cast<uint32_t>(std::ceil(side * aspect)),
          static_cast<uint32_t>(std::ceil(side / aspect))};
}

bool can_have_grid(const tl_layer_view &layer, const Box &box, double magnitude) {
  return layer.vertices > 0 && layer.vertices < kBreakFlag && magnitude < kGridMagnitudeMax &&
         magnitude > kGridMagnitudeMin && box.max_x > box.min_x && box.max_y > box.min_y;
}

// Tries ever coarser grids; false when none can be built.
bool build_grid(const GeometryFile &geometry, const IndexRequest &request, IndexHeader &header,
                PackedGrid &packed) {
  const tl_layer_view &layer = geometry.view();
  const Box box = box_of(layer);
  const double magnitude = geometry.magnitude_max();
  if (!can_have_grid(layer, box, magnitude)) {
    return false;
  }
  const bool borders = request.boundary != TL_BOUNDARY_HALF_OPEN;
  SweepOptions options{request.overlap == TL_OVERLAP_FIRST, borders, magnitude, request.bytes_max};
  Shape shape = choose_shape(layer.vertices, box, request.bytes_max);
  for (;;) {
    if (std::max(shape.columns, shape.rows) <= kUnboundedSide) {
      options.bytes_max = UINT64_MAX;
    }
    if (lay_grid(header, box, magnitude, shape.columns, shape.rows)) {
      try {
        packed = pack_grid(layer, sweep_layer(layer, header, options), borders);
        header.band = 16 * kUlpHalf * magnitude;
        return true;
      } catch (const GridTooLarge &) {
        if (shape.columns == 1 && shape.rows == 1) {
          return false;
        }
      }
    } else if (shape.columns == 1 && shape.rows == 1) {
      return false;
    }
    shape = {std::max(shape.columns / 2, 1u), std::max(shape.rows / 2, 1u)};
  }
}

void set_digest(uint8_t *out, const void *bytes, uint64_t size) {
  const Digest128 digest = hash128(bytes, size);
  std::memcpy(out, digest.bytes, sizeof digest.bytes);
}

void own_digest(const IndexHeader &header, uint8_t out[16]) {
  uint8_t bytes[kIndexHeaderBytes] = {};
  IndexHeader blank = header;
  std::memset(blank.digest, 0, sizeof blank.digest);
  std::memcpy(bytes, &blank, sizeof blank);
  set_digest(out, bytes, sizeof bytes);
}

// Fills sizes, offsets and digests, and writes the file.
void write_index(IndexHeader &header, const PackedGrid &packed, const char *path, bool durable) {
  const uint64_t cells_bytes = packed.cells.size() * sizeof(int32_t);
  const uint64_t ids_bytes = packed.ids.size() * sizeof(uint32_t);
  header.record_count = packed.record_count;
  header.edge_count = packed.edge_count;
  header.cells_offset = kIndexHeaderBytes;
  header.records_offset = align64(header.cells_offset + cells_bytes);
  header.records_bytes = packed.records.size();
  header.ids_offset = align64(header.records_offset + header.records_bytes);
  header.id_count = packed.ids.size();
  header.file_bytes = header.ids_offset + ids_bytes;
  set_digest(header.cells_digest, packed.cells.data(), cells_bytes);
  set_digest(header.records_digest, packed.records.data(), header.records_bytes);
  set_digest(header.ids_digest, packed.ids.data(), ids_bytes);
  own_digest(header, header.digest);
  uint8_t head[kIndexHeaderBytes] = {};
  std::memcpy(head, &header, sizeof header);
  const uint8_t zeros[64] = {};
  const FilePiece pieces[] = {
      {head, sizeof head},
      {packed.cells.data(), cells_bytes},
      {zeros, header.records_offset - header.cells_offset - cells_bytes},
      {packed.records.data(), header.records_bytes},
      {zeros, header.ids_offset - header.records_offset - header.records_bytes},
      {packed.ids.data(), ids_bytes},
  };
  write_file_atomically(path, pieces, 6, durable);
}

bool section_fits(uint64_t offset, uint64_t count, uint64_t size, uint64_t bytes) {
  return offset % 64 == 0 && offset >= kIndexHeaderBytes && offset <= bytes &&
         count <= (bytes - offset) / size;
}

bool digest_matches(const uint8_t *expected, const void *bytes, uint64_t size) {
  uint8_t digest[16];
  set_digest(digest, bytes, size);
  return std::memcmp(expected, digest, sizeof digest) == 0;
}

}  // namespace

tl_index_info build_index(const IndexRequest &request) {
  const GeometryFile geometry(request.geometry_path);
  IndexHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kIndexVersion;
  header.boundary = request.boundary;
  header.overlap = request.overlap;
  header.features = geometry.view().features;
  std::memcpy(header.geometry_sha256, request.geometry_sha256, sizeof header.geometry_sha256);
  PackedGrid packed;
  if (!build_grid(geometry, request, header, packed)) {
    header.kind = kKindEdges;
    header.columns = header.rows = 0;
    header.x0 = header.y0 = header.cells_per_x = header.cells_per_y = 0;
    packed = PackedGrid{};
  }
  write_index(header, packed, request.index_path, request.durable);
  return describe_index(&header);
}

tl_index_info describe_index(const void *index) {
  IndexHeader header;
  std::memcpy(&header, index, sizeof header);
  tl_index_info info{};
  info.bytes = header.file_bytes;
  info.records = header.record_count;
  info.edges = header.edge_count;
  info.columns = header.columns;
  info.rows = header.rows;
  info.kind = header.kind;
  std::memcpy(info.digest, header.digest, sizeof info.digest);
  return info;
}

const char *check_index(const void *index, uint64_t bytes, const tl_layer_view &layer) {
  if (bytes < kIndexHeaderBytes) {
    return "is not an index: it is shorter than a header";
  }
  IndexHeader header;
  std::memcpy(&header, index, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return "is not an index: expected magic TLIDX001";
  }
  if (header.version != kIndexVersion) {
    return "has another version: expected version 1; build it again";
  }
  uint8_t digest[16];
  own_digest(header, digest);
  const uint64_t cells = uint64_t{header.columns} * header.rows;
  if (std::memcmp(digest, header.digest, sizeof digest) != 0 || header.file_bytes != bytes ||
      !section_fits(header.cells_offset, cells, 4, bytes) ||
      !section_fits(header.records_offset, header.records_bytes, 1, bytes) ||
      !section_fits(header.ids_offset, header.id_count, 4, bytes)) {
    return "is damaged: its header does not fit the file; build it again";
  }
  const uint8_t *base = static_cast<const uint8_t *>(index);
  if (!digest_matches(header.cells_digest, base + header.cells_offset, cells * 4) ||
      !digest_matches(header.records_digest, base + header.records_offset, header.records_bytes) ||
      !digest_matches(header.ids_digest, base + header.ids_offset, header.id_count * 4)) {
    return "is damaged: its contents differ from their digests; build it again";
  }
  if (header.features != layer.features) {
    return "belongs to another layer: its number of features differs";
  }
  return nullptr;
}

}  // namespace tileloom
