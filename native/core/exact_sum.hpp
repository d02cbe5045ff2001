// Exact sums of values in memory, through the same accumulators as a chunk's: for checks.
#pragma once

#include "../include/tileloom_kernels.h"

namespace tileloom {

tl_sum_result exact_sum(const double *values, const uint8_t *validity, uint64_t count,
                        uint64_t splits);

}  // namespace tileloom
