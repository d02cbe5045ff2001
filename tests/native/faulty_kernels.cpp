// Test-only assign variants that fail in every way a native library can, and one that is slow but
// right. Also an example of what a third party's library exports: tl_abi_version and functions of type
// tl_assign_fn (native/include/tileloom_kernels.h).
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "../../native/include/tileloom_kernels.h"

namespace {

int refuse(int status, const char *message, char *text, uint64_t text_bytes) {
  if (text != nullptr && text_bytes > 0) {
    std::strncpy(text, message, text_bytes - 1);
    text[text_bytes - 1] = '\0';
  }
  return status;
}

// Milliseconds from an environment variable, so that a test can tune a fault.
long milliseconds(const char *name, long fallback) {
  const char *value = std::getenv(name);
  return value == nullptr ? fallback : std::atol(value);
}

void sleep_ms(long duration) {
  timespec wait{duration / 1000, (duration % 1000) * 1000000};
  nanosleep(&wait, nullptr);
}

// Exact sign of (b - a) x (p - a) in 128-bit floats: enough for the small coordinates of tests, whose
// differences and products fit 113 bits.
int left_of(double ax, double ay, double bx, double by, double px, double py) {
  using Wide = __float128;
  const Wide left = (Wide(bx) - ax) * (Wide(py) - ay);
  const Wide right = (Wide(by) - ay) * (Wide(px) - ax);
  return (left > right) - (left < right);
}

bool part_holds(const tl_layer_view &layer, uint64_t part, double x, double y) {
  bool inside = false;
  for (uint64_t ring = layer.part_rings[part]; ring < layer.part_rings[part + 1]; ++ring) {
    const uint64_t end = layer.ring_vertices[ring + 1];
    for (uint64_t at = layer.ring_vertices[ring]; at + 1 < end; ++at) {
      const uint64_t low = layer.y[at] <= layer.y[at + 1] ? at : at + 1;
      const uint64_t high = low == at ? at + 1 : at;
      if (layer.y[low] <= y && y < layer.y[high] &&
          left_of(layer.x[low], layer.y[low], layer.x[high], layer.y[high], x, y) > 0) {
        inside = !inside;
      }
    }
  }
  return inside;
}

int32_t first_feature(const tl_layer_view &layer, double x, double y) {
  for (uint64_t feature = 0; feature < layer.features; ++feature) {
    for (uint64_t part = layer.feature_parts[feature]; part < layer.feature_parts[feature + 1];
         ++part) {
      const double *box = layer.part_boxes + 4 * part;
      if (x >= box[0] && y >= box[1] && x <= box[2] && y <= box[3] &&
          part_holds(layer, part, x, y)) {
        return static_cast<int32_t>(feature);
      }
    }
  }
  return TL_OUTSIDE;
}

int assign_first(tl_assign_args *args, char *text, uint64_t text_bytes) {
  if (args->boundary != TL_BOUNDARY_HALF_OPEN || args->overlap != TL_OVERLAP_FIRST) {
    return refuse(TL_BAD_ARGUMENT, "knows half-open and first only", text, text_bytes);
  }
  for (uint64_t row = 0; row < args->rows; ++row) {
    const double x = args->x[row];
    const double y = args->y[row];
    const bool valid = std::isfinite(x) && std::isfinite(y);
    args->ids[row] = valid ? first_feature(*args->layer, x, y) : TL_INVALID;
  }
  return TL_OK;
}

}  // namespace

extern "C" {

TL_API int tl_abi_version(void) { return TL_ABI_VERSION; }

// Dies of SIGSEGV.
TL_API int tl_assign__crash__fp64__scalar(tl_assign_args *, char *, uint64_t) {
  raise(SIGSEGV);
  return TL_OK;
}

// Dies of SIGABRT, as after an uncaught exception or a broken assertion.
TL_API int tl_assign__abort__fp64__scalar(tl_assign_args *, char *, uint64_t) { abort(); }

// Never returns, uses no time.
TL_API int tl_assign__hang__fp64__scalar(tl_assign_args *, char *, uint64_t) {
  for (;;) {
    pause();
  }
}

// Right answers after TILELOOM_TEST_SLOW_MS (default 100) per call.
TL_API int tl_assign__slow__fp64__scalar(tl_assign_args *args, char *text, uint64_t text_bytes) {
  sleep_ms(milliseconds("TILELOOM_TEST_SLOW_MS", 100));
  return assign_first(args, text, text_bytes);
}

// Answers a status, as a kernel without memory would.
TL_API int tl_assign__oom__fp64__scalar(tl_assign_args *, char *text, uint64_t text_bytes) {
  return refuse(TL_OUT_OF_MEMORY, "has no memory left", text, text_bytes);
}

// Answers a status that the ABI does not know.
TL_API int tl_assign__odd__fp64__scalar(tl_assign_args *, char *text, uint64_t text_bytes) {
  return refuse(4711, "odd", text, text_bytes);
}

// Writes feature numbers that do not exist.
TL_API int tl_assign__wild__fp64__scalar(tl_assign_args *args, char *, uint64_t) {
  for (uint64_t row = 0; row < args->rows; ++row) {
    args->ids[row] = 0x7fffffff;
  }
  return TL_OK;
}

}  // extern "C"
