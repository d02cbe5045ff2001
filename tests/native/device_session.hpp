// A session with the device library as device_failures.cpp repeats it: list, open, a chunk in
// batches, points held in memory, close.
#pragma once

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tileloom_device.h"

namespace {

constexpr uint64_t kTileRows[] = {900, 0, 40, 700};
constexpr uint64_t kTiles = 4;
constexpr char kOnDevice[] = "tl_assign__grid__fp64__cuda";
constexpr char kOnHost[] = "tl_assign__grid__fp64__scalar";

struct Paths {
  std::string driver;
  std::string image;
  std::string geometry;
  std::string folder;
  std::string device_line;
};

// The functions of the library under test.
struct Library {
  explicit Library(const char *path) : handle(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::exit(2);
    }
  }
  template <class Function>
  Function *find(Function *, const char *name) const {
    return reinterpret_cast<Function *>(dlsym(handle, name));
  }
  void *handle;
};
#define TL_CALL(name) library.find(&name, #name)

struct Fixture {
  tl_layer *layer = nullptr;
  std::string data;
  std::vector<tl_tile_in> tiles;
  std::vector<tl_column_in> columns;
  std::vector<double> x, y;
};

// What one run of the work gave; `step` names the call that failed.
struct Outcome {
  std::string step;
  tl_error error{};
  std::vector<uint8_t> partials;
  std::vector<int32_t> ids;
};

void write_file(const std::string &path, const std::string &text) {
  std::ofstream(path + ".next", std::ios::binary) << text;
  std::rename((path + ".next").c_str(), path.c_str());
}

// Points of a quarter lattice: many lie on edges, and the host must decide them.
Fixture make_fixture(const Library &library, const Paths &paths, const uint8_t *sha256) {
  Fixture fixture;
  const std::string index = paths.folder + "/layer.tlidx";
  tl_index_info info{};
  tl_layer_info layer_info{};
  tl_error error{};
  if (TL_CALL(tl_index_build)(paths.geometry.c_str(), sha256, index.c_str(), 0, 0, 1 << 16, 0,
                              &info, &error) != TL_OK ||
      TL_CALL(tl_layer_open)(paths.geometry.c_str(), sha256, index.c_str(), &fixture.layer,
                             &layer_info, &error) != TL_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    std::exit(2);
  }
  fixture.data = paths.folder + "/data.bin";
  std::string bytes;
  uint32_t state = 7;
  for (uint64_t tile = 0; tile < kTiles; ++tile) {
    fixture.tiles.push_back({tile, kTileRows[tile], 0, 0, 3 * tile});
    for (int column = 0; column < 3; ++column) {
      tl_column_in described{};
      described.data_offset = bytes.size();
      described.validity_offset = TL_NOT_GIVEN;
      fixture.columns.push_back(described);
      for (uint64_t row = 0; row < kTileRows[tile]; ++row) {
        state = state * 1664525u + 1013904223u;
        const double value = static_cast<double>(state >> 16) / 65536 * 33;
        const double stored = column < 2 ? static_cast<int>(value) / 4.0 : value;
        bytes.append(reinterpret_cast<const char *>(&stored), sizeof stored);
        if (tile == 0 && column < 2) {
          (column == 0 ? fixture.x : fixture.y).push_back(stored);
        }
      }
    }
  }
  write_file(fixture.data, bytes);
  return fixture;
}

struct Batch {
  uint64_t first;
  uint64_t count;
  int status = TL_OK;
  tl_error error{};
};

void run_batch(const Library &library, const Fixture &fixture, tl_chunk *chunk, Batch &batch) {
  tl_tile_out tiles_out[kTiles];
  tl_batch_out batch_out{};
  tl_rows *rows = nullptr;
  batch.status =
      TL_CALL(tl_chunk_run)(chunk, fixture.data.c_str(), fixture.data.size() + 1, 1,
                            fixture.tiles.data() + batch.first, batch.count, fixture.columns.data(),
                            fixture.columns.size(), tiles_out, &batch_out, &rows, &batch.error);
}

// Two batches one after the other, or one for each tile at once. Returns the first failure, if
// there is one besides that of a batch which found its chunk failed.
int run_batches(const Library &library, const Fixture &fixture, tl_chunk *chunk, bool threads,
                tl_error &error) {
  std::vector<Batch> batches;
  const uint64_t tiles = threads ? 1 : kTiles / 2;
  for (uint64_t first = 0; first < kTiles; first += tiles) {
    Batch batch{};
    batch.first = first;
    batch.count = tiles;
    batches.push_back(batch);
  }
  std::vector<std::thread> running;
  for (Batch &batch : batches) {
    if (threads) {
      running.emplace_back([&] { run_batch(library, fixture, chunk, batch); });
    } else if (batches.front().status == TL_OK) {
      run_batch(library, fixture, chunk, batch);
    }
  }
  for (std::thread &one : running) {
    one.join();
  }
  int status = TL_OK;
  for (const Batch &batch : batches) {
    if (batch.status != TL_OK && (status == TL_OK || status == TL_BAD_STATE)) {
      status = batch.status;
      error = batch.error;
    }
  }
  return status;
}

// Runs a chunk in batches, then points held in memory.
bool compute(const Library &library, const Fixture &fixture, const char *symbol, bool threads,
             Outcome &outcome) {
  const tl_chunk_options options{sizeof(tl_chunk_options), 0, 0, 0, 1, 1, 0, 0};
  tl_chunk *chunk = nullptr;
  outcome.step = "chunk";
  int status =
      TL_CALL(tl_chunk_open)(fixture.layer, nullptr, symbol, &options, &chunk, &outcome.error);
  if (status == TL_OK) {
    outcome.step = "run";
    status = run_batches(library, fixture, chunk, threads, outcome.error);
  }
  uint64_t bytes = 0;
  if (status == TL_OK) {
    outcome.step = "finish";
    status = TL_CALL(tl_chunk_finish)(chunk, &bytes, &outcome.error);
  }
  if (status == TL_OK) {
    outcome.partials.resize(bytes);
    TL_CALL(tl_chunk_partials)(chunk, outcome.partials.data(), bytes);
    outcome.step = "points";
    outcome.ids.resize(fixture.x.size());
    uint64_t used = 0;
    status = TL_CALL(tl_assign_points)(fixture.layer, nullptr, symbol, 0, 0, 0, fixture.x.size(),
                                       fixture.x.data(), fixture.y.data(), outcome.ids.data(),
                                       nullptr, 0, &used, &outcome.error);
  }
  if (chunk != nullptr) {
    TL_CALL(tl_chunk_close)(chunk);
  }
  if (status == TL_DEVICE_LOST) {
    tl_error later{};
    if (TL_CALL(tl_chunk_open)(fixture.layer, nullptr, symbol, &options, &chunk, &later) !=
        TL_DEVICE_LOST) {
      outcome.step = "after the loss";
      outcome.error = later;
    }
  }
  return status == TL_OK;
}

int list(const Library &library, const Paths &paths, tl_error *error) {
  tl_device_entry entries[4];
  uint32_t count = 0;
  uint32_t version = 0;
  return TL_CALL(tl_device_list)(paths.driver.c_str(), entries, 4, &count, &version, error);
}

int open_device(const Library &library, const Paths &paths, uint32_t slots, tl_error *error) {
  const tl_device_options options{sizeof(tl_device_options), 0, slots, 0, 0, 1 << 18};
  tl_device_info info{};
  const std::string nvrtc = paths.folder + "/no-nvrtc.so";
  return TL_CALL(tl_device_open)(&options, paths.driver.c_str(), nvrtc.c_str(), paths.image.c_str(),
                                 nullptr, &info, error);
}

// From listing to closing; an empty step: all went well.
Outcome work(const Library &library, const Paths &paths, const Fixture &fixture, bool threads) {
  Outcome outcome;
  outcome.step = "list";
  if (list(library, paths, &outcome.error) != TL_OK) {
    return outcome;
  }
  outcome.step = "open";
  if (open_device(library, paths, threads ? 2 : 1, &outcome.error) != TL_OK) {
    return outcome;
  }
  const bool good = compute(library, fixture, kOnDevice, threads, outcome);
  tl_error closing{};
  if (TL_CALL(tl_device_close)(&closing) != TL_OK) {
    outcome.step = "close";
    outcome.error = closing;
  } else if (good) {
    outcome.step.clear();
  }
  return outcome;
}

}  // namespace
