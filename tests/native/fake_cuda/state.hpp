// What the fake driver knows: contexts, memory, streams, events, modules, and how many of each
// live.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "control.hpp"
#include "stream.hpp"

namespace fake {

// CUresults that the fake answers with by itself.
constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNotInitialized = 3;
constexpr int kNoDevice = 100;
constexpr int kInvalidDevice = 101;
constexpr int kInvalidImage = 200;
constexpr int kInvalidContext = 201;
constexpr int kNoBinary = 209;
constexpr int kInvalidHandle = 400;
constexpr int kNotFound = 500;
constexpr int kNotReady = 600;
constexpr int kIllegalAddress = 700;

struct Context {
  DeviceLine device;
  uint64_t retained = 0;
  uint64_t bytes = 0;  // of device memory
};

struct Memory {
  uint64_t bytes;
  Context *context;
};

// A kernel of native/cuda/kernels.cu.
struct Function {
  const char *name;
  bool fp32;
  bool fused;
};

struct Module {
  Context *context;
  Function functions[4] = {{"tl_assign_grid_fp64", false, false},
                           {"tl_fused_grid_fp64", false, true},
                           {"tl_assign_grid_fp32", true, false},
                           {"tl_fused_grid_fp32", true, true}};
};

class State {
 public:
  // The one of this process; it is never destroyed, because threads of streams outlive main.
  static State &get();

  // The devices that CUDA_VISIBLE_DEVICES leaves, in its order.
  std::vector<DeviceLine> visible() const;
  Context *context_of(const DeviceLine &device);
  // Whether [at, at + bytes) lies inside one live allocation of device memory.
  bool is_device(uint64_t at, uint64_t bytes, const Context *context) const;
  bool is_pinned(const void *at, uint64_t bytes) const;
  // Waits for all work of a context, as freeing memory does. Called without the mutex.
  void drain(const Context *context);
  // Appends the line of counts to the log. Called with the mutex.
  void write_log() const;

  std::mutex mutex;  // guards everything here
  Control control;
  bool initialized = false;
  int poison = 0;  // answer of every call, once an error has stuck
  uint64_t calls = 0;
  uint64_t late_calls = 0;                   // after an error had stuck
  std::map<std::string, uint64_t> calls_of;  // by function
  uint64_t launches = 0;
  std::map<std::string, std::unique_ptr<Context>> contexts;  // by UUID
  std::map<uint64_t, Memory> device_memory;
  std::map<uint64_t, Memory> host_memory;
  std::map<void *, std::shared_ptr<Stream>> streams;
  std::map<void *, std::shared_ptr<Event>> events;
  std::map<void *, std::unique_ptr<Module>> modules;
};

// The context that is current on this thread, or null.
Context *current();
void set_current(Context *context);
// Whether somebody retains it. Called without the mutex.
bool is_alive(const Context &context);

bool is_sticky(int result);

// What every call begins with: counts it, waits or hangs or fails as the control file says. A
// result other than 0 is the call's answer. `waits` false: the stream waits, not the caller.
int begin(const char *function, const Context *context, bool waits = true);
int begin_on(const char *function, const std::string &device, bool waits = true);
// As `begin` for a call that needs a current context.
int begin_in_context(const char *function, bool waits = true);
// Milliseconds that a stream must wait before work of this function.
uint64_t delay_of(const char *function);

// Runs a kernel's host build over its grid; returns a CUresult.
int run_kernel(const Function &kernel, const void *arguments, unsigned grid_x, unsigned grid_y,
               unsigned block_x, const Context *context);
uint64_t argument_bytes();
// Whether the image holds machine code for a device: 0, kNoBinary or kInvalidImage.
int judge_image(const void *image, int capability);

}  // namespace fake
