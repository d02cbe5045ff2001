// Every CUresult at every driver call: a program that runs the same work on the fake driver again
// and again, each time in a forked process of its own with one call that fails, and prints a JSON
// line about what came of it. tests/native/cuda-failures.test.ts builds it, runs it and judges the
// lines.
//
//   device_failures LIBRARY DRIVER IMAGE GEOMETRY SHA256 FOLDER DEVICE-LINE
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tileloom_device.h"

namespace {

constexpr unsigned kSecondsMax = 20;
constexpr int kResults[] = {1, 2, 46, 100, 201, 209, 222, 700, 702, 709, 719, 999};
constexpr const char *kFunctions[] = {
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceGetPCIBusId",
    "cuDeviceGetUuid_v2",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuMemGetInfo_v2",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventElapsedTime",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuLaunchKernel",
};
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

// Runs a chunk in two batches, then points held in memory.
bool compute(const Library &library, const Fixture &fixture, const char *symbol, Outcome &outcome) {
  const tl_chunk_options options{sizeof(tl_chunk_options), 0, 0, 0, 1, 1, 0, 0};
  tl_chunk *chunk = nullptr;
  outcome.step = "chunk";
  int status =
      TL_CALL(tl_chunk_open)(fixture.layer, nullptr, symbol, &options, &chunk, &outcome.error);
  for (uint64_t first = 0; status == TL_OK && first < kTiles; first += kTiles / 2) {
    tl_tile_out tiles_out[kTiles];
    tl_batch_out batch_out{};
    tl_rows *rows = nullptr;
    outcome.step = "run";
    status =
        TL_CALL(tl_chunk_run)(chunk, fixture.data.c_str(), fixture.data.size() + 1, 1,
                              fixture.tiles.data() + first, kTiles / 2, fixture.columns.data(),
                              fixture.columns.size(), tiles_out, &batch_out, &rows, &outcome.error);
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
  return status == TL_OK;
}

int list(const Library &library, const Paths &paths, tl_error *error) {
  tl_device_entry entries[4];
  uint32_t count = 0;
  uint32_t version = 0;
  return TL_CALL(tl_device_list)(paths.driver.c_str(), entries, 4, &count, &version, error);
}

int open_device(const Library &library, const Paths &paths, tl_error *error) {
  const tl_device_options options{sizeof(tl_device_options), 0, 1, 0, 0, 1 << 18};
  tl_device_info info{};
  const std::string nvrtc = paths.folder + "/no-nvrtc.so";
  return TL_CALL(tl_device_open)(&options, paths.driver.c_str(), nvrtc.c_str(), paths.image.c_str(),
                                 nullptr, &info, error);
}

// From listing to closing; an empty step: all went well.
Outcome work(const Library &library, const Paths &paths, const Fixture &fixture) {
  Outcome outcome;
  outcome.step = "list";
  if (list(library, paths, &outcome.error) != TL_OK) {
    return outcome;
  }
  outcome.step = "open";
  if (open_device(library, paths, &outcome.error) != TL_OK) {
    return outcome;
  }
  const bool good = compute(library, fixture, kOnDevice, outcome);
  tl_error closing{};
  if (TL_CALL(tl_device_close)(&closing) != TL_OK) {
    outcome.step = "close";
    outcome.error = closing;
  } else if (good) {
    outcome.step.clear();
  }
  return outcome;
}

std::string escaped(const char *text) {
  std::string out;
  for (; *text != 0; ++text) {
    out += *text == '"' || *text == '\\' ? '\'' : *text;
  }
  return out;
}

uint64_t calls_of(const Paths &paths, const char *function) {
  void *fake = dlopen(paths.driver.c_str(), RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<uint64_t (*)(const char *)>(dlsym(fake, "fake_calls_of"))(function);
}

uint64_t calls_by(const Paths &paths, const char *counter) {
  void *fake = dlopen(paths.driver.c_str(), RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<uint64_t (*)()>(dlsym(fake, counter))();
}

bool is_wrong(const Outcome &outcome, const Outcome &expected) {
  return outcome.step.empty() &&
         (outcome.partials != expected.partials || outcome.ids != expected.ids);
}

// One case, in a process of its own.
void run_case(const Library &library, const Paths &paths, const Fixture &fixture,
              const Outcome &expected, const std::string &lines, const std::string &facts) {
  const std::string control = paths.folder + "/" + std::to_string(getpid()) + ".txt";
  const std::string log = paths.folder + "/" + std::to_string(getpid()) + ".log";
  const std::string head = paths.device_line + "\nlog " + log + "\n";
  setenv("TILELOOM_FAKE_CUDA", control.c_str(), 1);
  write_file(control, head + lines);
  const Outcome first = work(library, paths, fixture);
  write_file(control, head);
  const uint64_t late_calls = calls_by(paths, "fake_late_calls");
  const uint64_t calls = calls_by(paths, "fake_calls");
  const Outcome second = work(library, paths, fixture);
  const uint64_t calls_again = calls_by(paths, "fake_calls") - calls;
  std::string leaks;
  std::ifstream lines_of_log(log);
  for (std::string line; std::getline(lines_of_log, line);) {
    leaks = line;
  }
  std::remove(control.c_str());
  std::remove(log.c_str());
  std::printf(
      "{%s, \"step\": \"%s\", \"status\": %d, \"deviceError\": %d, \"text\": \"%s\", "
      "\"wrong\": %d, \"stepAgain\": \"%s\", \"statusAgain\": %d, \"lateCalls\": %llu, "
      "\"callsAgain\": "
      "%llu, "
      "\"leaks\": \"%s\"}\n",
      facts.c_str(), first.step.c_str(), first.error.status, first.error.device_error,
      escaped(first.error.text).c_str(), is_wrong(first, expected) || is_wrong(second, expected),
      second.step.c_str(), second.error.status, static_cast<unsigned long long>(late_calls),
      static_cast<unsigned long long>(calls_again), leaks.c_str());
  std::fflush(stdout);
  _exit(0);  // not exit: the log of the fake would be written again
}

template <class Body>
void in_child(const std::string &facts, Body &&body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kSecondsMax);
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::printf("{%s, \"crash\": %d}\n", facts.c_str(), status);
    std::fflush(stdout);
  }
}

std::vector<uint64_t> count_calls(const Library &library, const Paths &paths,
                                  const Fixture &fixture) {
  int ends[2];
  if (pipe(ends) != 0) {
    std::exit(2);
  }
  in_child("\"counting\": true", [&] {
    const std::string control = paths.folder + "/count.txt";
    setenv("TILELOOM_FAKE_CUDA", control.c_str(), 1);
    write_file(control, paths.device_line + "\n");
    const Outcome outcome = work(library, paths, fixture);
    if (!outcome.step.empty()) {
      std::fprintf(stderr, "%s: %s\n", outcome.step.c_str(), outcome.error.text);
      _exit(1);
    }
    for (const char *function : kFunctions) {
      const uint64_t count = calls_of(paths, function);
      if (write(ends[1], &count, sizeof count) != sizeof count) {
        _exit(1);
      }
    }
  });
  close(ends[1]);
  std::vector<uint64_t> counts;
  for (uint64_t count = 0; read(ends[0], &count, sizeof count) == sizeof count;) {
    counts.push_back(count);
  }
  close(ends[0]);
  return counts;
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 8) {
    return 2;
  }
  const Library library(arguments[1]);
  const Paths paths{arguments[2], arguments[3], arguments[4], arguments[6], arguments[7]};
  uint8_t sha256[32];
  for (int index = 0; index < 32; ++index) {
    const char digits[3] = {arguments[5][2 * index], arguments[5][2 * index + 1], 0};
    sha256[index] = static_cast<uint8_t>(std::strtoul(digits, nullptr, 16));
  }
  const Fixture fixture = make_fixture(library, paths, sha256);
  Outcome expected;
  if (!compute(library, fixture, kOnHost, expected)) {
    std::fprintf(stderr, "%s\n", expected.error.text);
    return 2;
  }
  const std::vector<uint64_t> calls = count_calls(library, paths, fixture);
  for (size_t index = 0; index < calls.size(); ++index) {
    const std::string function = kFunctions[index];
    for (const int result : kResults) {
      const std::string rule = "fail " + function + " " + std::to_string(result);
      const std::string facts =
          "\"function\": \"" + function + "\", \"result\": " + std::to_string(result);
      for (uint64_t after = 0; after < calls[index]; ++after) {
        const std::string number = std::to_string(after);
        const std::string facts_here = facts + ", \"after\": " + number;
        in_child(facts_here, [&] {
          run_case(library, paths, fixture, expected, rule + " after " + number + " times 1\n",
                   facts_here);
        });
      }
      // From the first call on, and with no words for the error.
      const std::string facts_here = facts + ", \"after\": null";
      in_child(facts_here, [&] {
        run_case(library, paths, fixture, expected,
                 rule + "\nfail cuGetErrorName 1\nfail cuGetErrorString 1\n", facts_here);
      });
    }
  }
  return 0;
}
