// Test-only assign variants that fail in every way a native library can, and one that is slow but
// right. Also an example of what a third party's library exports: tl_abi_version and functions of
// type tl_assign_fn (native/include/tileloom_kernels.h). Links the oracle's objects for the slow
// one.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "../../native/include/tileloom_kernels.h"

namespace {

int refuse(int status, const char *message, char *text, uint64_t text_bytes) {
  if (text != nullptr && text_bytes > 0) {
    std::strncpy(text, message, text_bytes - 1);
    text[text_bytes - 1] = '\0';
  }
  return status;
}

// Milliseconds from an environment variable, so that a test can tune a fault.
long milliseconds(const char *name, long fallback) {
  const char *value = std::getenv(name);
  return value == nullptr ? fallback : std::atol(value);
}

void sleep_ms(long duration) {
  timespec wait{duration / 1000, (duration % 1000) * 1000000};
  nanosleep(&wait, nullptr);
}

}  // namespace

extern "C" {

TL_API int tl_abi_version(void) { return TL_ABI_VERSION; }

// Dies of SIGSEGV.
TL_API int tl_assign__crash__fp64__scalar(tl_assign_args *, char *, uint64_t) {
  raise(SIGSEGV);
  return TL_OK;
}

// Dies of SIGABRT, as after an uncaught exception or a broken assertion.
TL_API int tl_assign__abort__fp64__scalar(tl_assign_args *, char *, uint64_t) { abort(); }

// Never returns, uses no time.
TL_API int tl_assign__hang__fp64__scalar(tl_assign_args *, char *, uint64_t) {
  for (;;) {
    pause();
  }
}

// Right answers after TILELOOM_TEST_SLOW_MS (default 100) per call.
TL_API int tl_assign__slow__fp64__scalar(tl_assign_args *args, char *text, uint64_t text_bytes) {
  sleep_ms(milliseconds("TILELOOM_TEST_SLOW_MS", 100));
  return tl_assign__brute__fp64__scalar(args, text, text_bytes);
}

// Answers a status, as a kernel without memory would.
TL_API int tl_assign__oom__fp64__scalar(tl_assign_args *, char *text, uint64_t text_bytes) {
  return refuse(TL_OUT_OF_MEMORY, "has no memory left", text, text_bytes);
}

// Answers a status that the ABI does not know.
TL_API int tl_assign__odd__fp64__scalar(tl_assign_args *, char *text, uint64_t text_bytes) {
  return refuse(4711, "odd", text, text_bytes);
}

// Writes feature numbers that do not exist.
TL_API int tl_assign__wild__fp64__scalar(tl_assign_args *args, char *, uint64_t) {
  for (uint64_t row = 0; row < args->rows; ++row) {
    args->ids[row] = 0x7fffffff;
  }
  return TL_OK;
}

}  // extern "C"
