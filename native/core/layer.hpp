// An open layer: geometry, index, and the view that assign functions get.
#pragma once

#include "geometry_file.hpp"

namespace tileloom {

class Layer {
 public:
  // index_path may be null. Throws TL_BAD_GEOMETRY, TL_BAD_INDEX, TL_IO_ERROR.
  Layer(const char *geometry_path, const uint8_t *geometry_sha256, const char *index_path);

  const tl_layer_view &view() const { return view_; }
  tl_layer_info info() const;

 private:
  GeometryFile geometry_;
  MappedFile index_;
  tl_layer_view view_;
};

}  // namespace tileloom
