// Streams and events that are asynchronous for real: each stream has a thread that does its work in
// order, while the caller goes on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace fake {

struct Context;

class Stream {
 public:
  explicit Stream(Context *owner);
  // What is queued is still done, then the thread ends; nobody waits for it.
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  void push(std::function<void()> work);
  // Waits for all that was queued before.
  void wait() const;
  Context *const context;

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> work;
    uint64_t queued = 0;
    uint64_t done = 0;
    bool closed = false;
  };
  static void run(const std::shared_ptr<Queue> &queue);
  const std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class Event {
 public:
  Event(Context *owner, bool blocking) : context(owner), sleeps(blocking) {}
  static void record(const std::shared_ptr<Event> &event, Stream &stream);
  void wait();
  // Whether the latest record, of which there is one, has been reached; then `at` is valid.
  bool is_reached(std::chrono::steady_clock::time_point &at);
  bool was_recorded();
  Context *const context;
  const bool sleeps;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t recorded_ = 0;
  uint64_t reached_ = 0;
  std::chrono::steady_clock::time_point at_;
};

}  // namespace fake
