// The backend of libtileloom_cpu.so: the variants of this library and of external ones.
#include "../kernels/assign/variants.hpp"
#include "backend.hpp"

namespace tileloom {

std::unique_ptr<AnyChunk> open_chunk(std::shared_ptr<const Layer> layer, const char *library,
                                     const char *symbol, const tl_chunk_options &options) {
  return std::make_unique<Chunk>(std::move(layer), find_assign(library, symbol), options);
}

tl_assign_fn find_any_assign(const char *library, const char *symbol) {
  return find_assign(library, symbol);
}

}  // namespace tileloom
