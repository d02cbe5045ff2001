#include "stream.hpp"

#include <thread>

namespace fake {

Stream::Stream(Context *owner) : context(owner) { std::thread(run, queue_).detach(); }

Stream::~Stream() {
  const std::lock_guard<std::mutex> lock(queue_->mutex);
  queue_->closed = true;
  queue_->changed.notify_all();
}

void Stream::run(const std::shared_ptr<Queue> &queue) {
  std::unique_lock<std::mutex> lock(queue->mutex);
  for (;;) {
    queue->changed.wait(lock, [&] { return queue->closed || !queue->work.empty(); });
    if (queue->work.empty()) {
      return;
    }
    const std::function<void()> work = std::move(queue->work.front());
    queue->work.pop_front();
    lock.unlock();
    work();
    lock.lock();
    queue->done += 1;
    queue->changed.notify_all();
  }
}

void Stream::push(std::function<void()> work) {
  const std::lock_guard<std::mutex> lock(queue_->mutex);
  queue_->work.push_back(std::move(work));
  queue_->queued += 1;
  queue_->changed.notify_all();
}

void Stream::wait() const {
  const std::shared_ptr<Queue> queue = queue_;
  std::unique_lock<std::mutex> lock(queue->mutex);
  const uint64_t all = queue->queued;
  queue->changed.wait(lock, [&] { return queue->done >= all; });
}

void Event::record(const std::shared_ptr<Event> &event, Stream &stream) {
  uint64_t number = 0;
  {
    const std::lock_guard<std::mutex> lock(event->mutex_);
    number = ++event->recorded_;
  }
  stream.push([event, number] {
    const std::lock_guard<std::mutex> lock(event->mutex_);
    event->reached_ = number;
    event->at_ = std::chrono::steady_clock::now();
    event->changed_.notify_all();
  });
}

void Event::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t latest = recorded_;
  changed_.wait(lock, [&] { return reached_ >= latest; });
}

bool Event::is_reached(std::chrono::steady_clock::time_point &at) {
  const std::lock_guard<std::mutex> lock(mutex_);
  at = at_;
  return reached_ == recorded_;
}

bool Event::was_recorded() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return recorded_ != 0;
}

}  // namespace fake
