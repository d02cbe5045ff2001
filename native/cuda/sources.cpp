#include "sources.hpp"

#include <cstring>

#include "../include/tileloom_device.h"

// The assembler reads the files; paths are relative to native/, where make runs.
#define TL_EMBEDDED(symbol, name, path)                                          \
  __asm__(".section .rodata\n.global " #symbol "\n" #symbol ":\n.incbin \"" path \
          "\"\n.byte 0\n"                                                        \
          ".previous\n");                                                        \
  extern "C" __attribute__((visibility("hidden"))) const char symbol[];
#include "embedded.inc"
#undef TL_EMBEDDED

namespace tileloom {

const EmbeddedFile *embedded_files() {
  static const EmbeddedFile files[] = {
#define TL_EMBEDDED(symbol, name, path) {name, symbol},
#include "embedded.inc"
#undef TL_EMBEDDED
  };
  static_assert(sizeof files / sizeof *files == kEmbeddedFiles, "one entry per embedded file");
  return files;
}

std::vector<std::string> exact_options() {
  return {
#define TL_OPTION(text) text,
#include "options.inc"
#undef TL_OPTION
  };
}

Digest128 sources_digest() {
  std::string all;
  for (int index = 0; index < kEmbeddedFiles; ++index) {
    const EmbeddedFile &file = embedded_files()[index];
    all += std::string(file.name) + "\n" + std::to_string(std::strlen(file.text)) + "\n";
    all += file.text;
  }
  for (const std::string &option : exact_options()) {
    all += option + "\n";
  }
  return hash128(all.data(), all.size());
}

}  // namespace tileloom

extern "C" int tl_device_sources(uint8_t *digest) {
  if (digest == nullptr) {
    return TL_BAD_ARGUMENT;
  }
  try {
    std::memcpy(digest, tileloom::sources_digest().bytes, 16);
    return TL_OK;
  } catch (...) {
    return TL_OUT_OF_MEMORY;
  }
}
