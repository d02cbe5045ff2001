// A kernel image on disk, built ahead of time or kept by the cache: 8 bytes `TLCUDA01`, 16 bytes
// digest of the sources it was made of (sources.hpp), 16 bytes XXH3-128 of the payload, payload (a
// fat binary or a cubin). scripts/cuda/image-file.mjs writes the same.
//
// I1 only an image of exactly these sources, whole and undamaged, is ever given to the driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tileloom {

// The payload. Throws TL_IMAGE_UNUSABLE with a reason of at most 80 bytes that leaves out the path.
std::vector<uint8_t> read_image_file(const std::string &path);

// By rename. Throws TL_IO_ERROR.
void write_image_file(const std::string &path, const std::vector<uint8_t> &payload);

}  // namespace tileloom
