// The oracle: every edge of every part whose box holds the point, exact, without an index.
#include <cstdio>

#include "../../core/float_environment.hpp"
#include "assign.hpp"

namespace tileloom {
namespace {

Segment segment_at(const tl_layer_view &layer, uint64_t at) {
  const bool upward = layer.y[at] <= layer.y[at + 1];
  const uint64_t lower = upward ? at : at + 1;
  const uint64_t upper = upward ? at + 1 : at;
  return {layer.x[lower], layer.y[lower], layer.x[upper], layer.y[upper]};
}

void find_features(const tl_layer_view &layer, uint32_t boundary, double x, double y,
                   ResultSink &sink) {
  for (uint64_t feature = 0; feature < layer.features; ++feature) {
    for (uint64_t part = layer.feature_parts[feature]; part < layer.feature_parts[feature + 1];
         ++part) {
      const double *box = layer.part_boxes + 4 * part;
      if (x < box[0] || y < box[1] || x > box[2] || y > box[3]) {
        continue;
      }
      const bool borders = boundary != TL_BOUNDARY_HALF_OPEN;
      if (part_holds(part_state_exact(layer, part, x, y, borders), boundary)) {
        if (sink.add(static_cast<int32_t>(feature))) {
          return;
        }
        break;
      }
    }
  }
}

}  // namespace

unsigned part_state_exact(const tl_layer_view &layer, uint64_t part, double x, double y,
                          bool borders) {
  unsigned state = 0;
  for (uint64_t ring = layer.part_rings[part]; ring < layer.part_rings[part + 1]; ++ring) {
    const uint64_t end = layer.ring_vertices[ring + 1];
    for (uint64_t at = layer.ring_vertices[ring]; at + 1 < end; ++at) {
      const Segment segment = segment_at(layer, at);
      state ^= crosses_exact(segment, x, y) ? kInside : 0;
      if (borders && on_segment_exact(segment, x, y)) {
        state |= kOnBorder;
      }
    }
  }
  return state;
}

int fail_assign(int status, const char *message, char *text, uint64_t text_bytes) {
  if (text != nullptr && text_bytes > 0) {
    std::snprintf(text, text_bytes, "%s", message);
  }
  return status;
}

int check_assign_args(const tl_assign_args *args, char *text, uint64_t text_bytes) {
  if (args == nullptr || args->struct_bytes < sizeof *args || args->layer == nullptr ||
      args->layer->struct_bytes < sizeof *args->layer) {
    return fail_assign(TL_BAD_ARGUMENT, "has arguments of another ABI version", text, text_bytes);
  }
  const bool arrays = args->x != nullptr && args->y != nullptr && args->ids != nullptr;
  if ((args->rows > 0 && !arrays) || args->boundary > TL_BOUNDARY_CONTAINS ||
      args->overlap > TL_OVERLAP_ERROR || (args->pairs_capacity > 0 && args->pairs == nullptr)) {
    return fail_assign(TL_BAD_ARGUMENT, "has arguments out of range", text, text_bytes);
  }
  return TL_OK;
}

}  // namespace tileloom

extern "C" int tl_assign__brute__fp64__scalar(tl_assign_args *args, char *text,
                                              uint64_t text_bytes) {
  using namespace tileloom;
  const int status = check_assign_args(args, text, text_bytes);
  if (status != TL_OK) {
    return status;
  }
  const FloatEnvironment environment;
  ResultSink sink(*args);
  for (uint64_t row = 0; row < args->rows; ++row) {
    const double x = args->x[row];
    const double y = args->y[row];
    if (!is_finite(x) || !is_finite(y)) {
      sink.invalid(row);
      continue;
    }
    sink.begin(row);
    find_features(*args->layer, args->boundary, x, y, sink);
    if (!sink.end()) {
      break;
    }
  }
  return sink.status(text, text_bytes);
}
