// The kernel sources, embedded so that NVRTC can build them on a host without this repository, and
// the options they are compiled with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../core/hash128.hpp"

namespace tileloom {

struct EmbeddedFile {
  const char *name;  // as #include spells it; the first file is the program
  const char *text;  // NUL-terminated
};

constexpr int kEmbeddedFiles = 9;
const EmbeddedFile *embedded_files();

// Without the architecture.
std::vector<std::string> exact_options();

// XXH3-128 over `<name>\n<bytes>\n<text>` of each embedded file, then `<option>\n` of each option:
// what an image must have been made of to be used. scripts/cuda/sources.mjs computes the same.
Digest128 sources_digest();

}  // namespace tileloom
