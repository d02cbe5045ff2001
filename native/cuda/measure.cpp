#include "measure.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "../core/float_environment.hpp"
#include "device_chunk.hpp"
#include "group.hpp"

namespace tileloom {

// A group that is filled once and computed many times.
class GroupMeasure {
 public:
  GroupMeasure(Device &device, const GroupOptions &options, const ResidentIndex *index)
      : lease_(device, false), group_(device, lease_.slot(), options, index) {}

  // Reads tiles [first, end) of the batch; they must all fit.
  void fill(const BatchInput &batch, uint64_t first, uint64_t end);
  // As a chunk does it after reading: lays out, uploads, computes, downloads, waits.
  void run(tl_device_stats &stats) {
    group_.used_ = filled_;
    group_.run(stats);
  }
  // The kernels alone, again, on what `run` uploaded. Returns their seconds.
  double repeat_kernels(const Driver &driver);
  // Brings back what the last repetition counted.
  void download(const Driver &driver);
  void add_to(tl_measure_result &result) const;

 private:
  Lease lease_;
  Group group_;
  uint64_t filled_ = 0;
};

void GroupMeasure::fill(const BatchInput &batch, uint64_t first, uint64_t end) {
  const std::vector<const char *> names = split_paths(batch);
  std::vector<OpenFile> files(names.size());
  group_.begin();
  for (uint64_t index = first; index < end; ++index) {
    const tl_tile_in &tile = batch.tiles[index];
    check_tile(batch, tile, 2 + group_.options().measures);
    require(group_.has_room(tile.rows),
            "has tiles that do not fit in one slot: give it more bytes");
    if (files[tile.file].get() < 0) {
      OpenFile file = open_for_reading(names[tile.file]);
      files[tile.file].swap(file);
    }
    group_.read(files[tile.file].get(), tile, batch.columns + tile.first_column);
  }
  filled_ = group_.used_;
}

double GroupMeasure::repeat_kernels(const Driver &driver) {
  Slot &slot = group_.slot_;
  tl_device_stats stats{};
  slot.busy = true;
  driver.check(driver.fill(slot.arena.at() + group_.input_end_, 0,
                           group_.result_end_ - group_.input_end_, slot.stream.get()),
               "cuMemsetD8Async");
  slot.uploaded.record(slot.stream);
  group_.launch(stats);
  slot.computed.record(slot.stream);
  slot.computed.wait();
  slot.busy = false;
  return slot.uploaded.seconds_until(slot.computed);
}

void GroupMeasure::download(const Driver &driver) {
  Slot &slot = group_.slot_;
  slot.busy = true;
  driver.check(
      driver.download(slot.pinned.at() + group_.input_end_, slot.arena.at() + group_.input_end_,
                      group_.result_end_ - group_.input_end_, slot.stream.get()),
      "cuMemcpyDtoHAsync");
  slot.downloaded.record(slot.stream);
  slot.downloaded.wait();
  slot.busy = false;
}

void GroupMeasure::add_to(tl_measure_result &result) const {
  for (size_t index = 0; index < group_.size(); ++index) {
    const TileCounts counts = group_.counts(index);
    result.rows += group_.tile(index).job.rows;
    result.hits += counts.hits;
    result.outside += counts.outside;
    result.invalid += counts.invalid;
    result.ambiguous += counts.ambiguous;
    result.host_tiles += group_.tile(index).host_aggregates ? 1 : 0;
  }
  result.upload_bytes += group_.input_end_;
  result.download_bytes += group_.result_end_ - group_.input_end_;
  if (group_.ids_needed_) {
    result.download_bytes += (group_.used_ - group_.result_end_) / 2;  // ids; lists are as long
  }
}

namespace {

using Measures = std::vector<std::unique_ptr<GroupMeasure>>;

double now_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// TL_MEASURE_ROUNDS passes over every group, one thread each; the first failure is thrown.
double time_rounds(Device &device, Measures &measures) {
  std::vector<std::exception_ptr> failures(measures.size());
  std::vector<std::thread> threads;
  const double started = now_seconds();
  for (size_t index = 0; index < measures.size(); ++index) {
    threads.emplace_back([&device, &measures, &failures, index] {
      try {
        device.enter();
        tl_device_stats stats{};
        for (int round = 0; round < TL_MEASURE_ROUNDS; ++round) {
          measures[index]->run(stats);
        }
      } catch (...) {
        failures[index] = std::current_exception();
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  const double seconds = now_seconds() - started;
  for (const std::exception_ptr &failure : failures) {
    if (failure != nullptr) {
      std::rethrow_exception(failure);
    }
  }
  return seconds;
}

}  // namespace

tl_measure_result measure_kernels(Device &device, const Layer &layer,
                                  const tl_measure_request &request, const BatchInput &batch,
                                  double *seconds) {
  const FloatEnvironment environment;
  device.enter();
  const GroupOptions options{&layer.view(),
                             request.boundary,
                             request.overlap,
                             request.wrap,
                             request.measures,
                             request.aggregate,
                             0,
                             request.precision != 0 ? Precision::kFp32 : Precision::kFp64};
  const std::shared_ptr<const ResidentIndex> index = resident_grid(device, options);
  require(index != nullptr, "has an index without a grid: the device would compute nothing");
  const bool resident = request.kind == TL_MEASURE_RESIDENT;
  const uint64_t groups = resident ? 1 : std::min<uint64_t>(device.info().slots, batch.tile_count);
  Measures measures;
  tl_device_stats stats{};
  for (uint64_t number = 0; number < groups; ++number) {
    measures.push_back(std::make_unique<GroupMeasure>(device, options, index.get()));
    measures.back()->fill(batch, batch.tile_count * number / groups,
                          batch.tile_count * (number + 1) / groups);
    measures.back()->run(stats);
  }
  for (uint32_t repeat = 0; repeat < request.repeats; ++repeat) {
    seconds[repeat] = resident ? measures.front()->repeat_kernels(device.driver())
                               : time_rounds(device, measures);
  }
  tl_measure_result result{};
  for (const std::unique_ptr<GroupMeasure> &one : measures) {
    if (resident && request.repeats > 0) {
      one->download(device.driver());
    }
    one->add_to(result);
  }
  return result;
}

void measure_copies(Device &device, uint32_t kind, const char *driver_path, uint64_t bytes,
                    uint32_t repeats, double *seconds) {
  device.enter();
  const Driver &driver = device.driver();
  using Copy = CuResult (*)(CuPointer, CuPointer, size_t, CuStream);
  Copy copy = nullptr;
  if (kind == TL_MEASURE_DEVICE_COPY) {
    void *handle = dlopen(driver_path == nullptr ? "libcuda.so.1" : driver_path, RTLD_NOW);
    copy =
        handle == nullptr ? nullptr : reinterpret_cast<Copy>(dlsym(handle, "cuMemcpyDtoDAsync_v2"));
    if (copy == nullptr) {
      throw Failure(TL_DEVICE_MISSING, "has a driver without cuMemcpyDtoDAsync_v2");
    }
  }
  Meter meter;
  const DeviceMemory to(driver, meter, bytes);
  const DeviceMemory from = copy == nullptr ? DeviceMemory() : DeviceMemory(driver, meter, bytes);
  const std::unique_ptr<PinnedMemory> host =
      copy == nullptr ? std::make_unique<PinnedMemory>(driver, bytes) : nullptr;
  const Event started(driver);
  const Event ended(driver);
  const Stream stream(driver);
  for (uint32_t repeat = 0; repeat < repeats + 1; ++repeat) {
    started.record(stream);
    if (kind == TL_MEASURE_DEVICE_COPY) {
      driver.check(copy(to.at(), from.at(), bytes, stream.get()), "cuMemcpyDtoDAsync");
    } else if (kind == TL_MEASURE_UPLOAD) {
      driver.check(driver.upload(to.at(), host->at(), bytes, stream.get()), "cuMemcpyHtoDAsync");
    } else {
      driver.check(driver.download(host->at(), to.at(), bytes, stream.get()), "cuMemcpyDtoHAsync");
    }
    ended.record(stream);
    ended.wait();
    if (repeat > 0) {  // the first warms up
      seconds[repeat - 1] = started.seconds_until(ended);
    }
  }
}

}  // namespace tileloom
