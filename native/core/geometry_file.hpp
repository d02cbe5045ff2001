// A .tlgeom file (docs/formats.md), mapped and checked.
#pragma once

#include <vector>

#include "../include/tileloom_kernels.h"
#include "mapped_file.hpp"

namespace tileloom {

// Invariants after opening: offsets ascend and end at the next array's size, every vertex is
// finite, every ring has no vertices or is closed; boxes belong to the parts.
class GeometryFile {
 public:
  // Throws TL_BAD_GEOMETRY.
  explicit GeometryFile(const char *path);

  // The view without an index.
  const tl_layer_view &view() const { return view_; }
  uint64_t mapped_bytes() const { return file_.size(); }
  uint64_t resident_bytes() const { return boxes_.size() * sizeof(double); }
  // Largest magnitude of a coordinate.
  double magnitude_max() const { return magnitude_max_; }

 private:
  void check_counts();
  void check_rings();

  MappedFile file_;
  tl_layer_view view_{};
  std::vector<double> boxes_;
  double magnitude_max_ = 0;
};

}  // namespace tileloom
