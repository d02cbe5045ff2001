// A CUDA driver that lies: the fake driver, which it is linked with, but for one thing in what it
// brings back. What a wrong kernel would do, without an error to be seen.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

namespace {

// Without sums an answer is two copies: counts of tiles, then ids of rows, which are many more bytes.
void lie(uint32_t *words, size_t bytes) {
#if defined LYING_ABOUT_COUNTS
  // One hit of the first tile becomes a point outside.
  if (bytes >= 16 && words[0] > 0) {
    words[0] -= 1;
    words[1] += 1;
  }
#elif defined LYING_ABOUT_IDS
  // The first row is in another feature than it should.
  if (bytes >= 4096) {
    words[0] ^= 1;
  }
#endif
}

}  // namespace

extern "C" int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
  using Copy = int (*)(void *, unsigned long long, size_t, void *);
  using Wait = int (*)(void *);
  void *honest = dlopen(HONEST, RTLD_NOW | RTLD_LOCAL);
  const auto copy = reinterpret_cast<Copy>(dlsym(honest, "cuMemcpyDtoHAsync_v2"));
  const auto wait = reinterpret_cast<Wait>(dlsym(honest, "cuStreamSynchronize"));
  if (copy == nullptr || wait == nullptr) {
    std::abort();
  }
  const int result = copy(to, from, bytes, stream);
  if (result != 0 || wait(stream) != 0) {
    return result;
  }
  lie(static_cast<uint32_t *>(to), bytes);
  return result;
}
