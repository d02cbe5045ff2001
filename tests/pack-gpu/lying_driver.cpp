// A CUDA driver that lies: the fake driver, which it is linked with, but for one hit of the first
// tile that it moves to the points outside. What a wrong kernel would do, without an error to be
// seen.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>

extern "C" int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
  using Copy = int (*)(void *, unsigned long long, size_t, void *);
  using Wait = int (*)(void *);
  void *honest = dlopen(LYING_ABOUT, RTLD_NOW | RTLD_LOCAL);
  const auto copy = reinterpret_cast<Copy>(dlsym(honest, "cuMemcpyDtoHAsync_v2"));
  const auto wait = reinterpret_cast<Wait>(dlsym(honest, "cuStreamSynchronize"));
  if (copy == nullptr || wait == nullptr) {
    std::abort();
  }
  const int result = copy(to, from, bytes, stream);
  if (result != 0 || wait(stream) != 0 || bytes < 16) {
    return result;
  }
  uint32_t *counts = static_cast<uint32_t *>(to);
  if (counts[0] > 0) {
    counts[0] -= 1;
    counts[1] += 1;
  }
  return result;
}
