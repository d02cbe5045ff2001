// The entry points of tileloom_measure.h.
#include "measure.hpp"

using tileloom::Device;
using tileloom::guard;
using tileloom::require;

namespace {

// Runs the body on the open device.
template <class Body>
int on_device(tl_error *error, Body &&body) {
  return guard(error, [&] { body(*tileloom::open_device()); });
}

}  // namespace

extern "C" {

int tl_device_measure_copy(uint32_t kind, const char *driver_path, uint64_t bytes, uint32_t repeats,
                           double *seconds, tl_error *error) {
  return on_device(error, [&](Device &device) {
    require(kind <= TL_MEASURE_DOWNLOAD && bytes > 0 && seconds != nullptr, "has bad arguments");
    tileloom::measure_copies(device, kind, driver_path, bytes, repeats, seconds);
  });
}

int tl_device_measure(const char *geometry_path, const uint8_t geometry_sha256[32],
                      const char *index_path, const tl_measure_request *request, const char *paths,
                      uint64_t paths_bytes, uint64_t files, const tl_tile_in *tiles,
                      uint64_t tile_count, const tl_column_in *columns, uint64_t column_count,
                      double *seconds, tl_measure_result *result, tl_error *error) {
  return on_device(error, [&](Device &device) {
    require(request != nullptr && geometry_path != nullptr && geometry_sha256 != nullptr &&
                index_path != nullptr && paths != nullptr && tiles != nullptr &&
                columns != nullptr && seconds != nullptr && result != nullptr,
            "has null arguments");
    require(request->struct_bytes >= sizeof *request, "has a request of another ABI version");
    require(request->kind <= TL_MEASURE_PINNED && tile_count > 0, "has bad arguments");
    const tileloom::Layer layer(geometry_path, geometry_sha256, index_path);
    *result = tileloom::measure_kernels(
        device, layer, *request,
        {paths, paths_bytes, files, tiles, tile_count, columns, column_count}, seconds);
  });
}

}  // extern "C"
