// What the processor and the operating system can run.
#pragma once

#include <cstdint>

namespace tileloom {

// TL_ISA_* bits.
uint64_t cpu_features();

}  // namespace tileloom
