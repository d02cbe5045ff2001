#include "failure.hpp"

#include <algorithm>
#include <cstring>

namespace tileloom {

Failure system_failure(int status, const std::string &text, int os_errno) {
  char reason[128] = "";
  const char *message = strerror_r(os_errno, reason, sizeof reason);
  Failure failure(status, text + ": " + message);
  failure.os_errno = os_errno;
  return failure;
}

int report(tl_error *error, const Failure &failure) noexcept {
  if (error != nullptr) {
    *error = tl_error{};
    error->status = failure.status;
    error->os_errno = failure.os_errno;
    error->tile = failure.tile;
    error->row = failure.row;
    error->column = failure.column;
    error->device_error = failure.device_error;
    const size_t size = std::min(failure.text.size(), sizeof error->text - 1);
    std::memcpy(error->text, failure.text.data(), size);
  }
  return failure.status;
}

int report_unknown(tl_error *error, int status, const char *text) noexcept {
  if (error != nullptr) {
    *error = tl_error{};
    error->status = status;
    error->tile = -1;
    error->row = -1;
    error->column = -1;
    std::strncpy(error->text, text, sizeof error->text - 1);
  }
  return status;
}

void require(bool condition, const char *text) {
  if (!condition) {
    throw Failure(TL_BAD_ARGUMENT, text);
  }
}

}  // namespace tileloom
