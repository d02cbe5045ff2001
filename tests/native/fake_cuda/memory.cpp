// The functions of libcuda that tileloom calls: memory, streams, events, copies and launches.
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "state.hpp"

using fake::begin_in_context;
using fake::Context;
using fake::Event;
using fake::State;
using fake::Stream;

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace {

// Memory up to this size is filled with a pattern, so that nothing relies on fresh zeros.
constexpr uint64_t kPatternBytesMax = uint64_t{16} << 20;

void *allocate_pattern(uint64_t bytes) {
  void *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (memory != nullptr && bytes <= kPatternBytesMax) {
    std::memset(memory, 0xa5, bytes);
  }
  return memory;
}

// The live stream of a handle that belongs to the current context, or null.
std::shared_ptr<Stream> stream_of(void *handle) {
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.streams.find(handle);
  const bool good = found != state.streams.end() && found->second->context == fake::current();
  return good ? found->second : nullptr;
}

std::shared_ptr<Event> event_of(void *handle) {
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.events.find(handle);
  const bool good = found != state.events.end() && found->second->context == fake::current();
  return good ? found->second : nullptr;
}

// Queues work behind the delay that the control file asks for; after a sticky error nothing runs.
void queue_work(const std::shared_ptr<Stream> &stream, const char *function,
                std::function<int()> work) {
  const uint64_t delay = fake::delay_of(function);
  stream->push([delay, work = std::move(work)] {
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    State &state = State::get();
    {
      const std::lock_guard<std::mutex> lock(state.mutex);
      if (state.poison != 0) {
        return;
      }
    }
    const int result = work();
    if (result != 0) {
      const std::lock_guard<std::mutex> lock(state.mutex);
      state.poison = result;
    }
  });
}

bool is_device_range(uint64_t at, uint64_t bytes) {
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return bytes != 0 && state.is_device(at, bytes, fake::current());
}

// Copies with memory that is not pinned keep the caller waiting, as the driver may.
int queue_copy(const char *function, void *to, const void *from, const void *host, uint64_t bytes,
               void *handle) {
  const std::shared_ptr<Stream> stream = stream_of(handle);
  if (stream == nullptr) {
    return fake::kInvalidHandle;
  }
  State &state = State::get();
  queue_work(stream, function, [to, from, bytes] {
    std::memcpy(to, from, bytes);
    return 0;
  });
  bool pinned = false;
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    pinned = state.is_pinned(host, bytes);
  }
  if (!pinned) {
    stream->wait();
  }
  return 0;
}

}  // namespace

FAKE_API int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
  const int failure = begin_in_context("cuMemGetInfo_v2");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const Context *context = fake::current();
  *total_bytes = context->device.bytes;
  *free_bytes = context->device.bytes - context->bytes;
  return 0;
}

FAKE_API int cuMemAlloc_v2(unsigned long long *at, size_t bytes) {
  const int failure = begin_in_context("cuMemAlloc_v2");
  if (failure != 0 || bytes == 0) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  Context *context = fake::current();
  if (bytes > context->device.bytes - context->bytes) {
    return fake::kOutOfMemory;
  }
  void *memory = allocate_pattern(bytes);
  if (memory == nullptr) {
    return fake::kOutOfMemory;
  }
  *at = reinterpret_cast<uint64_t>(memory);
  context->bytes += bytes;
  state.device_memory[*at] = {bytes, context};
  return 0;
}

FAKE_API int cuMemFree_v2(unsigned long long at) {
  const int failure = begin_in_context("cuMemFree_v2");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  state.drain(fake::current());
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.device_memory.find(at);
  if (found == state.device_memory.end() || found->second.context != fake::current()) {
    return fake::kInvalidValue;
  }
  found->second.context->bytes -= found->second.bytes;
  state.device_memory.erase(found);
  std::free(reinterpret_cast<void *>(at));
  return 0;
}

FAKE_API int cuMemHostAlloc(void **at, size_t bytes, unsigned) {
  const int failure = begin_in_context("cuMemHostAlloc");
  if (failure != 0 || bytes == 0) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  *at = allocate_pattern(bytes);
  if (*at == nullptr) {
    return fake::kOutOfMemory;
  }
  state.host_memory[reinterpret_cast<uint64_t>(*at)] = {bytes, fake::current()};
  return 0;
}

FAKE_API int cuMemFreeHost(void *at) {
  const int failure = begin_in_context("cuMemFreeHost");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  state.drain(fake::current());
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (state.host_memory.erase(reinterpret_cast<uint64_t>(at)) == 0) {
    return fake::kInvalidValue;
  }
  std::free(at);
  return 0;
}

FAKE_API int cuStreamCreate(void **handle, unsigned) {
  const int failure = begin_in_context("cuStreamCreate");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  auto stream = std::make_shared<Stream>(fake::current());
  *handle = stream.get();
  state.streams[*handle] = std::move(stream);
  return 0;
}

FAKE_API int cuStreamDestroy_v2(void *handle) {
  const int failure = begin_in_context("cuStreamDestroy_v2");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.streams.erase(handle) == 1 ? 0 : fake::kInvalidHandle;
}

FAKE_API int cuStreamSynchronize(void *handle) {
  const int failure = begin_in_context("cuStreamSynchronize");
  if (failure != 0) {
    return failure;
  }
  const std::shared_ptr<Stream> stream = stream_of(handle);
  if (stream == nullptr) {
    return fake::kInvalidHandle;
  }
  stream->wait();
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return State::get().poison;
}

FAKE_API int cuEventCreate(void **handle, unsigned flags) {
  const int failure = begin_in_context("cuEventCreate");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  auto event = std::make_shared<Event>(fake::current(), (flags & 1) != 0);
  *handle = event.get();
  state.events[*handle] = std::move(event);
  return 0;
}

FAKE_API int cuEventDestroy_v2(void *handle) {
  const int failure = begin_in_context("cuEventDestroy_v2");
  if (failure != 0) {
    return failure;
  }
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.events.erase(handle) == 1 ? 0 : fake::kInvalidHandle;
}

FAKE_API int cuEventRecord(void *handle, void *stream_handle) {
  const int failure = begin_in_context("cuEventRecord");
  if (failure != 0) {
    return failure;
  }
  const std::shared_ptr<Event> event = event_of(handle);
  const std::shared_ptr<Stream> stream = stream_of(stream_handle);
  if (event == nullptr || stream == nullptr) {
    return fake::kInvalidHandle;
  }
  Event::record(event, *stream);
  return 0;
}

FAKE_API int cuEventSynchronize(void *handle) {
  const int failure = begin_in_context("cuEventSynchronize");
  if (failure != 0) {
    return failure;
  }
  const std::shared_ptr<Event> event = event_of(handle);
  if (event == nullptr) {
    return fake::kInvalidHandle;
  }
  event->wait();
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return State::get().poison;
}

FAKE_API int cuEventElapsedTime(float *milliseconds, void *from_handle, void *to_handle) {
  const int failure = begin_in_context("cuEventElapsedTime");
  if (failure != 0) {
    return failure;
  }
  const std::shared_ptr<Event> from = event_of(from_handle);
  const std::shared_ptr<Event> to = event_of(to_handle);
  if (from == nullptr || to == nullptr || !from->was_recorded() || !to->was_recorded()) {
    return fake::kInvalidHandle;
  }
  std::chrono::steady_clock::time_point start;
  std::chrono::steady_clock::time_point end;
  if (!from->is_reached(start) || !to->is_reached(end)) {
    return fake::kNotReady;
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end - start).count();
  return 0;
}

FAKE_API int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes,
                                  void *stream) {
  const int failure = begin_in_context("cuMemcpyHtoDAsync_v2", false);
  if (failure != 0 || !is_device_range(to, bytes)) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  return queue_copy("cuMemcpyHtoDAsync_v2", reinterpret_cast<void *>(to), from, from, bytes,
                    stream);
}

FAKE_API int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
  const int failure = begin_in_context("cuMemcpyDtoHAsync_v2", false);
  if (failure != 0 || !is_device_range(from, bytes)) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  return queue_copy("cuMemcpyDtoHAsync_v2", to, reinterpret_cast<const void *>(from), to, bytes,
                    stream);
}

FAKE_API int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes,
                                  void *handle) {
  const int failure = begin_in_context("cuMemcpyDtoDAsync_v2", false);
  if (failure != 0 || !is_device_range(to, bytes) || !is_device_range(from, bytes)) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  const std::shared_ptr<Stream> stream = stream_of(handle);
  if (stream == nullptr) {
    return fake::kInvalidHandle;
  }
  queue_work(stream, "cuMemcpyDtoDAsync_v2", [to, from, bytes] {
    std::memcpy(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
    return 0;
  });
  return 0;
}

FAKE_API int cuMemsetD8Async(unsigned long long at, unsigned char value, size_t bytes,
                             void *handle) {
  const int failure = begin_in_context("cuMemsetD8Async", false);
  if (failure != 0 || !is_device_range(at, bytes)) {
    return failure != 0 ? failure : fake::kInvalidValue;
  }
  const std::shared_ptr<Stream> stream = stream_of(handle);
  if (stream == nullptr) {
    return fake::kInvalidHandle;
  }
  queue_work(stream, "cuMemsetD8Async", [at, value, bytes] {
    std::memset(reinterpret_cast<void *>(at), value, bytes);
    return 0;
  });
  return 0;
}

FAKE_API int cuLaunchKernel(fake::Function *function, unsigned grid_x, unsigned grid_y,
                            unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                            unsigned, void *handle, void **arguments, void **) {
  const int failure = begin_in_context("cuLaunchKernel", false);
  if (failure != 0) {
    return failure;
  }
  // All kernels carry __launch_bounds__(256).
  if (grid_x == 0 || grid_y == 0 || grid_y > 65535 || grid_z != 1 || block_x == 0 ||
      block_x > 256 || block_y != 1 || block_z != 1 || arguments == nullptr) {
    return fake::kInvalidValue;
  }
  const std::shared_ptr<Stream> stream = stream_of(handle);
  if (stream == nullptr) {
    return fake::kInvalidHandle;
  }
  const uint8_t *bytes = static_cast<const uint8_t *>(arguments[0]);
  const fake::Function kernel = *function;
  std::vector<uint8_t> copied(bytes, bytes + fake::argument_bytes());
  const Context *context = fake::current();
  queue_work(stream, "cuLaunchKernel", [=] {
    return fake::run_kernel(kernel, copied.data(), grid_x, grid_y, block_x, context);
  });
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  State::get().launches += 1;
  return 0;
}
