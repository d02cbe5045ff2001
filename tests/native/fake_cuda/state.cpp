#include "state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sstream>
#include <thread>

namespace fake {
namespace {

thread_local Context *current_context = nullptr;

void write_log_at_exit() {
  State &state = State::get();
  if (state.mutex.try_lock()) {
    state.write_log();
    state.mutex.unlock();
  }
}

bool is_inside(const std::map<uint64_t, Memory> &memory, uint64_t at, uint64_t bytes,
               const Context *context) {
  auto after = memory.upper_bound(at);
  if (after == memory.begin()) {
    return false;
  }
  const auto &[start, one] = *std::prev(after);
  return (context == nullptr || one.context == context) && at - start <= one.bytes &&
         bytes <= one.bytes - (at - start);
}

bool begins_with(const std::string &text, const std::string &start) {
  return text.compare(0, start.size(), start) == 0;
}

}  // namespace

State &State::get() {
  static State *const state = [] {
    std::atexit(write_log_at_exit);
    return new State();
  }();
  return *state;
}

// Like the driver: numbers or beginnings of UUIDs; the first that is wrong ends the list.
std::vector<DeviceLine> State::visible() const {
  const char *given = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::vector<DeviceLine> &all = control.devices();
  if (given == nullptr) {
    return all;
  }
  std::vector<DeviceLine> chosen;
  std::istringstream names(given);
  for (std::string name; std::getline(names, name, ',');) {
    const DeviceLine *found = nullptr;
    for (size_t index = 0; index < all.size(); ++index) {
      const bool by_uuid = begins_with(name, "GPU-") && begins_with(all[index].uuid, name);
      found = by_uuid || name == std::to_string(index) ? &all[index] : found;
    }
    if (found == nullptr) {
      return chosen;
    }
    chosen.push_back(*found);
  }
  return chosen;
}

Context *State::context_of(const DeviceLine &device) {
  std::unique_ptr<Context> &context = contexts[device.uuid];
  if (context == nullptr) {
    context = std::make_unique<Context>();
  }
  if (context->retained == 0) {
    context->device = device;
  }
  return context.get();
}

bool State::is_device(uint64_t at, uint64_t bytes, const Context *context) const {
  return is_inside(device_memory, at, bytes, context);
}

bool State::is_pinned(const void *at, uint64_t bytes) const {
  return is_inside(host_memory, reinterpret_cast<uint64_t>(at), bytes, nullptr);
}

void State::drain(const Context *context) {
  std::vector<std::shared_ptr<Stream>> waited;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto &[handle, stream] : streams) {
      if (stream->context == context) {
        waited.push_back(stream);
      }
    }
  }
  for (const std::shared_ptr<Stream> &stream : waited) {
    stream->wait();
  }
}

void State::write_log() const {
  if (control.log().empty()) {
    return;
  }
  uint64_t live = 0;
  uint64_t device_bytes = 0;
  uint64_t host_bytes = 0;
  for (const auto &[uuid, context] : contexts) {
    live += context->retained != 0 ? 1 : 0;
    device_bytes += context->bytes;
  }
  for (const auto &[at, memory] : host_memory) {
    host_bytes += memory.bytes;
  }
  std::ostringstream line;
  line << "pid " << getpid() << " contexts " << live << " streams " << streams.size() << " events "
       << events.size() << " modules " << modules.size() << " deviceBytes " << device_bytes
       << " hostBytes " << host_bytes << " launches " << launches << " calls " << calls << "\n";
  const int file = open(control.log().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0 || write(file, line.str().data(), line.str().size()) < 0) {
    misuse("log " + control.log() + " cannot be written");
  }
  close(file);
}

extern "C" __attribute__((visibility("default"))) uint64_t fake_calls_of(const char *function) {
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = state.calls_of.find(function);
  return found == state.calls_of.end() ? 0 : found->second;
}

// Calls after an error had stuck, besides those that ask for its name.
extern "C" __attribute__((visibility("default"))) uint64_t fake_late_calls() {
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return State::get().late_calls;
}

extern "C" __attribute__((visibility("default"))) uint64_t fake_calls() {
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return State::get().calls;
}

Context *current() { return current_context; }
void set_current(Context *context) { current_context = context; }

bool is_alive(const Context &context) {
  const std::lock_guard<std::mutex> lock(State::get().mutex);
  return context.retained != 0;
}

// As cuda.h says of each: "any further CUDA work will return the same error", "the process must be
// terminated and relaunched", the context or the driver is gone, or an error that nobody can
// correct.
bool is_sticky(int result) {
  static const std::set<int> results = {4,   214, 220, 226, 700, 702, 709, 710, 714,
                                        715, 716, 717, 718, 719, 721, 810, 911};
  return results.count(result) != 0;
}

uint64_t delay_of(const char *function) {
  State &state = State::get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.control.delay_milliseconds(function);
}

int begin_on(const char *function, const std::string &device, bool waits) {
  State &state = State::get();
  uint64_t delay = 0;
  for (bool first = true;; first = false) {
    {
      const std::lock_guard<std::mutex> lock(state.mutex);
      state.control.refresh();
      state.calls += first ? 1 : 0;
      state.calls_of[function] += first ? 1 : 0;
      if (state.poison != 0) {
        state.late_calls += std::strncmp(function, "cuGetError", 10) != 0 ? 1 : 0;
        return state.poison;
      }
      delay = waits ? state.control.delay_milliseconds(function) : 0;
      if (!state.control.hangs(function)) {
        break;
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(delay));
  const std::lock_guard<std::mutex> lock(state.mutex);
  const int failure = state.control.failure_of(function, device);
  if (is_sticky(failure)) {
    state.poison = failure;
  }
  return failure;
}

int begin(const char *function, const Context *context, bool waits) {
  return begin_on(function, context == nullptr ? "" : context->device.uuid, waits);
}

int begin_in_context(const char *function, bool waits) {
  const Context *context = current();
  const int failure = begin(function, context, waits);
  if (failure != 0) {
    return failure;
  }
  return context == nullptr || !is_alive(*context) ? kInvalidContext : 0;
}

}  // namespace fake
