// Every CUresult at every driver call: a program that runs the same work on the fake driver again
// and again, each time in a forked process of its own with one call that fails, and prints a JSON
// line about what came of it. tests/native/cuda-failures.test.ts builds it, runs it and judges the
// lines.
//
//   device_failures LIBRARY DRIVER IMAGE GEOMETRY SHA256 FOLDER DEVICE-LINE RESULT…
//
// A RESULT fails the first call of kOnceFunction only; those of kResults fail every call.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "device_session.hpp"

namespace {

constexpr unsigned kSecondsMax = 20;
constexpr int kResults[] = {1, 2, 46, 100, 201, 209, 222, 700, 702, 709, 719, 999};
constexpr char kOnceFunction[] = "cuMemGetInfo_v2";
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
              const Outcome &expected, const std::string &lines, bool threads,
              const std::string &facts) {
  const std::string control = paths.folder + "/" + std::to_string(getpid()) + ".txt";
  const std::string log = paths.folder + "/" + std::to_string(getpid()) + ".log";
  const std::string head = paths.device_line + "\nlog " + log + "\n";
  setenv("TILELOOM_FAKE_CUDA", control.c_str(), 1);
  write_file(control, head + lines);
  const Outcome first = work(library, paths, fixture, threads);
  write_file(control, head);
  const uint64_t late_calls = calls_by(paths, "fake_late_calls");
  const uint64_t calls = calls_by(paths, "fake_calls");
  const Outcome second = work(library, paths, fixture, threads);
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
    const Outcome outcome = work(library, paths, fixture, false);
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

// What all cases share.
struct Session {
  const Library &library;
  const Paths &paths;
  const Fixture &fixture;
  const Outcome &expected;
};

// The rest of the rule says which calls fail: from `after` on.
void fail_call(const Session &session, const char *function, int result, const std::string &after,
               const std::string &rest, bool threads) {
  const std::string facts = std::string("\"function\": \"") + function +
                            "\", \"result\": " + std::to_string(result) + ", \"after\": " + after +
                            ", \"threads\": " + (threads ? "true" : "false");
  const std::string rule = std::string("fail ") + function + " " + std::to_string(result) + rest;
  in_child(facts, [&] {
    run_case(session.library, session.paths, session.fixture, session.expected, rule, threads,
             facts);
  });
}

void fail_once(const Session &session, const char *function, int result, uint64_t after,
               bool threads) {
  const std::string number = std::to_string(after);
  fail_call(session, function, result, number, " after " + number + " times 1\n", threads);
}

void fail_each_call(const Session &session, const char *function, uint64_t calls, int result) {
  const bool threads = result == 1 || result == 2 || result == 719;
  for (uint64_t after = 0; after < calls; ++after) {
    fail_once(session, function, result, after, false);
    if (threads) {
      fail_once(session, function, result, after, true);
    }
  }
  // From the first call on, and with no words for the error.
  fail_call(session, function, result, "null", "\nfail cuGetErrorName 1\nfail cuGetErrorString 1\n",
            false);
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 8) {
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
  if (!compute(library, fixture, kOnHost, false, expected)) {
    std::fprintf(stderr, "%s\n", expected.error.text);
    return 2;
  }
  const Session session{library, paths, fixture, expected};
  const std::vector<uint64_t> calls = count_calls(library, paths, fixture);
  for (size_t index = 0; index < calls.size(); ++index) {
    for (const int result : kResults) {
      fail_each_call(session, kFunctions[index], calls[index], result);
    }
  }
  for (int index = 8; index < count; ++index) {
    fail_once(session, kOnceFunction, std::atoi(arguments[index]), 0, false);
  }
  return 0;
}
