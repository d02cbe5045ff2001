// The assign variants of this library by symbol, and those of external libraries.
#pragma once

#include "../../include/tileloom_kernels.h"

namespace tileloom {

// library: path of a shared library that exports the symbol, or null for this one. Libraries stay
// loaded. Throws TL_NO_SUCH_SYMBOL.
tl_assign_fn find_assign(const char *library, const char *symbol);

}  // namespace tileloom
