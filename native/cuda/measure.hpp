// Repeats what a chunk does once, on the same groups, kernels and slots: for benches only.
#pragma once

#include "../core/chunk.hpp"
#include "../include/tileloom_measure.h"
#include "device.hpp"

namespace tileloom {

// Seconds of each copy. Throws TL_DEVICE_MISSING when the driver cannot copy on the device.
void measure_copies(Device &device, uint32_t kind, const char *driver_path, uint64_t bytes,
                    uint32_t repeats, double *seconds);

// Seconds of each repetition, and what the last one counted.
tl_measure_result measure_kernels(Device &device, const Layer &layer,
                                  const tl_measure_request &request, const BatchInput &batch,
                                  double *seconds);

}  // namespace tileloom
