// The kernel sources, embedded so that NVRTC can build them on a host without this repository.
#pragma once

#include <cstdint>

namespace tileloom {

struct EmbeddedFile {
  const char *name;  // as #include spells it; the first file is the program
  const char *text;  // NUL-terminated
};

constexpr int kEmbeddedFiles = 5;
const EmbeddedFile *embedded_files();

}  // namespace tileloom
