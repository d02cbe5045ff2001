// The seam between the entry points and what computes: each library links one backend.
#pragma once

#include <memory>

#include "chunk.hpp"

namespace tileloom {

// Opens a chunk for an assign symbol of this library, or of `library` when that is given. Throws
// TL_NO_SUCH_SYMBOL and whatever the backend's device says.
std::unique_ptr<AnyChunk> open_chunk(std::shared_ptr<const Layer> layer, const char *library,
                                     const char *symbol, const tl_chunk_options &options);

// The assign function of a symbol, those of the backend included.
tl_assign_fn find_any_assign(const char *library, const char *symbol);

}  // namespace tileloom
