#include "layer.hpp"

#include <cstring>

#include "../kernels/assign/grid_index.hpp"
#include "../kernels/assign/grid_layout.hpp"
#include "failure.hpp"

namespace tileloom {

Layer::Layer(const char *geometry_path, const uint8_t *geometry_sha256, const char *index_path)
    : geometry_(geometry_path), view_(geometry_.view()) {
  if (index_path == nullptr) {
    return;
  }
  index_.copy(index_path);
  const char *problem = check_index(index_.data(), index_.size(), view_);
  if (problem != nullptr) {
    throw Failure(TL_BAD_INDEX, std::string("index ") + index_path + " " + problem);
  }
  const IndexHeader *header = reinterpret_cast<const IndexHeader *>(index_.data());
  if (std::memcmp(header->geometry_sha256, geometry_sha256, sizeof header->geometry_sha256) != 0) {
    throw Failure(TL_BAD_INDEX, std::string("index ") + index_path +
                                    " belongs to another geometry: its SHA-256 differs");
  }
  view_.index = index_.data();
  view_.index_bytes = index_.size();
}

tl_layer_info Layer::info() const {
  tl_layer_info info{};
  info.features = view_.features;
  info.parts = view_.parts;
  info.rings = view_.rings;
  info.vertices = view_.vertices;
  info.resident_bytes = index_.size() + geometry_.resident_bytes();
  info.mapped_bytes = geometry_.mapped_bytes();
  if (view_.index != nullptr) {
    info.index = describe_index(view_.index);
  }
  return info;
}

}  // namespace tileloom
