// The lanes of one chunk: a batch in flight has one to itself; at the end their totals are merged.
//
// I1 whatever fails fails the chunk: it takes no more batches and has no result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "failure.hpp"

namespace tileloom {

// L has totals(), which merge and encode themselves. Safe from several threads.
template <class L>
class Lanes {
 public:
  using Make = std::function<std::unique_ptr<L>()>;
  explicit Lanes(Make make) : make_(std::move(make)) {}

  // Calls body(lane) for one batch; throws TL_BAD_STATE once the chunk has failed or is finished.
  template <class Body>
  void with_lane(Body body) {
    L *lane = take();
    try {
      body(*lane);
    } catch (...) {
      give_back(lane, true);
      throw;
    }
    give_back(lane, false);
  }

  // Encodes the merged totals into `partials`, once; no batch may be running.
  void finish(std::vector<uint8_t> &partials) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_ || idle_.size() != lanes_.size()) {
      throw Failure(TL_BAD_STATE, failed_ ? "failed before: it has no result"
                                          : "cannot finish: a batch is still running");
    }
    if (finished_) {
      return;
    }
    if (lanes_.empty()) {
      lanes_.push_back(make_());
      idle_.push_back(lanes_.back().get());
    }
    failed_ = true;  // until the merge is complete: a half-merged chunk has no result
    auto &merged = lanes_.front()->totals();
    for (size_t index = 1; index < lanes_.size(); ++index) {
      merged.merge(lanes_[index]->totals());
    }
    partials.resize(merged.encoded_bytes_max());
    partials.resize(merged.encode(partials.data()));
    failed_ = false;
    finished_ = true;
  }

 private:
  L *take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failed_ || finished_) {
      throw Failure(TL_BAD_STATE, failed_ ? "belongs to a chunk that failed before; open another"
                                          : "belongs to a chunk that is finished; open another");
    }
    if (idle_.empty()) {
      idle_.reserve(lanes_.size() + 1);
      lanes_.push_back(make_());
      return lanes_.back().get();
    }
    L *lane = idle_.back();
    idle_.pop_back();
    return lane;
  }

  void give_back(L *lane, bool failed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = failed_ || failed;
    idle_.push_back(lane);
  }

  const Make make_;
  std::mutex mutex_;  // guards the four below
  std::vector<std::unique_ptr<L>> lanes_;
  std::vector<L *> idle_;
  bool failed_ = false;
  bool finished_ = false;
};

}  // namespace tileloom
