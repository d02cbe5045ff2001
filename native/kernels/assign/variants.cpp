#include "variants.hpp"

#include <dlfcn.h>

#include <cstring>
#include <string>

#include "../../core/cpu.hpp"
#include "../../core/failure.hpp"
#include "assign.hpp"

namespace tileloom {
namespace {

constexpr char kPrefix[] = "tl_assign__";

struct Variant {
  const char *symbol;
  tl_assign_fn function;
};

constexpr Variant kVariants[] = {
    {"tl_assign__brute__fp64__scalar", tl_assign__brute__fp64__scalar},
    {"tl_assign__grid__fp64__scalar", tl_assign__grid__fp64__scalar},
    {"tl_assign__grid__fp64__avx2", tl_assign__grid__fp64__avx2},
};

[[noreturn]] void refuse(const std::string &text) { throw Failure(TL_NO_SUCH_SYMBOL, text); }

}  // namespace

int require_avx2(char *text, uint64_t text_bytes) {
  constexpr uint64_t kNeeded = TL_ISA_AVX2 | TL_ISA_FMA;
  if ((cpu_features() & kNeeded) != kNeeded) {
    return fail_assign(TL_ISA_MISSING, "needs a processor with AVX2 and FMA", text, text_bytes);
  }
  return TL_OK;
}

tl_assign_fn find_assign(const char *library, const char *symbol) {
  if (std::strncmp(symbol, kPrefix, sizeof kPrefix - 1) != 0) {
    refuse(std::string("cannot use symbol ") + symbol + ": expected a name like tl_assign__…");
  }
  if (library == nullptr) {
    for (const Variant &variant : kVariants) {
      if (std::strcmp(variant.symbol, symbol) == 0) {
        return variant.function;
      }
    }
    refuse(std::string("has no variant ") + symbol + ": expected one that this library exports");
  }
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    refuse(std::string("cannot load library: ") + dlerror());
  }
  using VersionFunction = int (*)();
  const auto version = reinterpret_cast<VersionFunction>(dlsym(handle, "tl_abi_version"));
  if (version == nullptr || version() != TL_ABI_VERSION) {
    refuse(std::string("cannot use library ") + library +
           ": expected an export tl_abi_version that answers 1");
  }
  const auto function = reinterpret_cast<tl_assign_fn>(dlsym(handle, symbol));
  if (function == nullptr) {
    refuse(std::string("has no variant ") + symbol + " in library " + library);
  }
  return function;
}

}  // namespace tileloom
