// Failures inside the library: one exception type and the guard that turns it into a status.
#pragma once

#include <cstdint>
#include <new>
#include <string>

#include "../include/tileloom_kernels.h"

namespace tileloom {

struct Failure {
  int status = TL_INTERNAL;
  std::string text;
  int os_errno = 0;
  int64_t tile = -1;
  int64_t row = -1;
  int32_t column = -1;
  int32_t device_error = 0;  // what a device driver answered

  Failure(int status_, std::string text_) : status(status_), text(std::move(text_)) {}

  Failure &at_errno(int value) {
    os_errno = value;
    return *this;
  }
};

// A failure whose text ends with what the operating system says.
Failure system_failure(int status, const std::string &text, int os_errno);

// Writes the failure to the caller's struct, which may be null.
int report(tl_error *error, const Failure &failure) noexcept;
int report_unknown(tl_error *error, int status, const char *text) noexcept;

// Runs the body of an entry point; no exception leaves it.
template <class Body>
int guard(tl_error *error, Body &&body) noexcept {
  try {
    body();
    return TL_OK;
  } catch (const Failure &failure) {
    return report(error, failure);
  } catch (const std::bad_alloc &) {
    return report_unknown(error, TL_OUT_OF_MEMORY,
                          "does not fit in memory: an allocation failed; use smaller chunks");
  } catch (...) {
    return report_unknown(error, TL_INTERNAL, "failed: unexpected exception");
  }
}

// Throws TL_BAD_ARGUMENT with this text unless the condition holds.
void require(bool condition, const char *text);

}  // namespace tileloom
