// Process facts that Node does not offer: dying with the parent, and advisory file locks.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "../include/tileloom_kernels.h"
#include "failure.hpp"

namespace {

constexpr uint32_t kPollMs = 20;

void sleep_ms(uint32_t milliseconds) {
  timespec duration{static_cast<time_t>(milliseconds / 1000),
                    static_cast<long>(milliseconds % 1000) * 1000000};
  nanosleep(&duration, nullptr);
}

int lock_file(const char *path, uint32_t wait_ms) {
  using tileloom::Failure;
  const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    throw tileloom::system_failure(TL_IO_ERROR, "cannot be opened", errno);
  }
  for (uint32_t waited = 0;; waited += kPollMs) {
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      return descriptor;
    }
    const int reason = errno;
    if ((reason == EWOULDBLOCK || reason == EINTR) && waited < wait_ms) {
      sleep_ms(kPollMs);
      continue;
    }
    close(descriptor);
    if (reason != EWOULDBLOCK) {
      throw tileloom::system_failure(TL_IO_ERROR, "cannot be locked", reason);
    }
    throw Failure(TL_LOCK_TIMEOUT, "is held by another process: waited " + std::to_string(wait_ms) +
                                       " ms; stop that process");
  }
}

}  // namespace

extern "C" {

int tl_die_with_parent(int32_t expected_parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return TL_INTERNAL;
  }
  // The parent may have died before the call above.
  return expected_parent != 0 && getppid() != expected_parent ? TL_BAD_STATE : TL_OK;
}

int tl_lock_acquire(const char *path, uint32_t wait_ms, int32_t *lock, tl_error *error) {
  return tileloom::guard(error, [&] {
    tileloom::require(path != nullptr && lock != nullptr, "is null");
    *lock = lock_file(path, wait_ms);
  });
}

int tl_lock_release(int32_t lock) { return close(lock) == 0 ? TL_OK : TL_BAD_ARGUMENT; }

}  // extern "C"
