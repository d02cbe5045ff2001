#include "sources.hpp"

// The assembler reads the files; paths are relative to native/, where make runs.
#define TL_EMBED(symbol, path)                                                   \
  __asm__(".section .rodata\n.global " #symbol "\n" #symbol ":\n.incbin \"" path \
          "\"\n.byte 0\n"                                                        \
          ".previous\n");                                                        \
  extern "C" __attribute__((visibility("hidden"))) const char symbol[];

TL_EMBED(tileloom_text_kernels, "cuda/kernels.cu")
TL_EMBED(tileloom_text_cells, "kernels/aggregate/exact_cells.hpp")
TL_EMBED(tileloom_text_assign, "kernels/assign/assign_device.hpp")
TL_EMBED(tileloom_text_math, "kernels/assign/grid_math.hpp")
TL_EMBED(tileloom_text_device, "kernels/device.hpp")

namespace tileloom {

const EmbeddedFile *embedded_files() {
  static const EmbeddedFile files[kEmbeddedFiles] = {
      {"kernels.cu", tileloom_text_kernels},
      {"../kernels/aggregate/exact_cells.hpp", tileloom_text_cells},
      {"../assign/assign_device.hpp", tileloom_text_assign},
      {"grid_math.hpp", tileloom_text_math},
      {"../device.hpp", tileloom_text_device},
  };
  return files;
}

}  // namespace tileloom
