#include "geometry_file.hpp"

#include <cmath>
#include <cstring>
#include <string>

#include "failure.hpp"

namespace tileloom {
namespace {

constexpr uint64_t kHeaderBytes = 128;
constexpr uint64_t kFeaturesMax = 0x7fffffff;  // feature numbers are non-negative int32

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  uint64_t features, parts, rings, vertices;
  uint64_t feature_parts, part_rings, ring_vertices, x, y, meta, meta_bytes;
};

[[noreturn]] void refuse(const std::string &text) { throw Failure(TL_BAD_GEOMETRY, text); }

// Address of an array of `count` values of T, checked against the file's size.
template <class T>
const T *array_at(const MappedFile &file, uint64_t offset, uint64_t count, const char *name) {
  const uint64_t room = offset <= file.size() ? (file.size() - offset) / sizeof(T) : 0;
  if (offset % 64 != 0 || offset < kHeaderBytes || count > room) {
    refuse(std::string("is damaged: array ") + name + " does not lie inside the file");
  }
  return reinterpret_cast<const T *>(file.data() + offset);
}

template <class T>
void check_offsets(const T *offsets, uint64_t count, uint64_t end, const char *name) {
  bool good = offsets[0] == 0 && offsets[count] == end;
  for (uint64_t index = 0; index < count; ++index) {
    good = good && offsets[index] <= offsets[index + 1];
  }
  if (!good) {
    refuse(std::string("is damaged: offsets ") + name + " do not ascend from 0 to " +
           std::to_string(end));
  }
}

}  // namespace

GeometryFile::GeometryFile(const char *path) {
  file_.map(path);
  Header header;
  if (file_.size() < kHeaderBytes) {
    refuse("is not a geometry file: expected at least 128 bytes, got " +
           std::to_string(file_.size()));
  }
  std::memcpy(&header, file_.data(), sizeof header);
  if (std::memcmp(header.magic, "TLGEOM01", 8) != 0 || header.version != 1) {
    refuse(
        "is not a geometry file: expected magic TLGEOM01 and version 1; prepare the layer again");
  }
  if (header.features > kFeaturesMax || header.parts > UINT32_MAX || header.rings > UINT32_MAX ||
      header.vertices > file_.size()) {
    refuse("is damaged: its counts exceed what the file can hold");
  }
  view_.struct_bytes = sizeof view_;
  view_.features = header.features;
  view_.parts = header.parts;
  view_.rings = header.rings;
  view_.vertices = header.vertices;
  view_.feature_parts =
      array_at<uint32_t>(file_, header.feature_parts, header.features + 1, "featureParts");
  view_.part_rings = array_at<uint32_t>(file_, header.part_rings, header.parts + 1, "partRings");
  view_.ring_vertices =
      array_at<uint64_t>(file_, header.ring_vertices, header.rings + 1, "ringVertices");
  view_.x = array_at<double>(file_, header.x, header.vertices, "x");
  view_.y = array_at<double>(file_, header.y, header.vertices, "y");
  check_counts();
  check_rings();
}

void GeometryFile::check_counts() {
  check_offsets(view_.feature_parts, view_.features, view_.parts, "featureParts");
  check_offsets(view_.part_rings, view_.parts, view_.rings, "partRings");
  check_offsets(view_.ring_vertices, view_.rings, view_.vertices, "ringVertices");
}

void GeometryFile::check_rings() {
  const double inf = HUGE_VAL;
  boxes_.resize(4 * view_.parts);
  view_.part_boxes = boxes_.data();
  for (uint64_t part = 0; part < view_.parts; ++part) {
    double *box = boxes_.data() + 4 * part;
    box[0] = box[1] = inf;
    box[2] = box[3] = -inf;
    for (uint64_t ring = view_.part_rings[part]; ring < view_.part_rings[part + 1]; ++ring) {
      const uint64_t begin = view_.ring_vertices[ring];
      const uint64_t end = view_.ring_vertices[ring + 1];
      for (uint64_t at = begin; at < end; ++at) {
        const double x = view_.x[at];
        const double y = view_.y[at];
        const double magnitude = std::fmax(std::fabs(x), std::fabs(y));
        if (!(magnitude < inf) || x != x || y != y) {
          refuse("is damaged: vertex " + std::to_string(at) + " is not finite");
        }
        magnitude_max_ = std::fmax(magnitude_max_, magnitude);
        box[0] = std::fmin(box[0], x);
        box[1] = std::fmin(box[1], y);
        box[2] = std::fmax(box[2], x);
        box[3] = std::fmax(box[3], y);
      }
      if (begin < end &&
          (view_.x[begin] != view_.x[end - 1] || view_.y[begin] != view_.y[end - 1])) {
        refuse("is damaged: ring " + std::to_string(ring) + " is not closed");
      }
    }
  }
}

}  // namespace tileloom
