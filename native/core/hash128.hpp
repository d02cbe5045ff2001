// XXH3 with 128-bit result, written from the published XXH3 algorithm (seed 0, default secret).
#pragma once

#include <cstdint>

namespace tileloom {

struct Digest128 {
  uint8_t bytes[16];  // canonical form: high half first, big-endian
};

Digest128 hash128(const void *bytes, uint64_t size);

}  // namespace tileloom
