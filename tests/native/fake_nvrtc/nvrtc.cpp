// A fake NVRTC for tests: it tells what it was given and answers with an image that the fake driver
// takes. TILELOOM_FAKE_NVRTC names its control file, read at each call:
//   version <major> <minor>   13 0 unless given
//   log <path>                one line `<pid> <program> <headers…> | <options…>` per compilation
//   wait <path>               a compilation ends once this file exists
//   refuse <text…>            compilation fails with this log
//   image <text…>             the payload; `tileloom fake image sm_NN` of the option unless given
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kCompilationFailed = 6;

struct Program {
  std::string files;
  std::string image;
  std::string log;
};

[[noreturn]] void misuse(const std::string &text) {
  std::fprintf(stderr, "fake NVRTC: %s\n", text.c_str());
  std::abort();
}

std::map<std::string, std::string> control() {
  const char *path = std::getenv("TILELOOM_FAKE_NVRTC");
  std::ifstream file(path == nullptr ? "" : path);
  if (!file) {
    misuse("TILELOOM_FAKE_NVRTC names no control file");
  }
  std::map<std::string, std::string> values;
  for (std::string line; std::getline(file, line);) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space);
    if (key != "version" && key != "log" && key != "wait" && key != "refuse" && key != "image") {
      misuse("unknown line: " + line);
    }
    values[key] = space == std::string::npos ? "" : line.substr(space + 1);
  }
  return values;
}

void append(const std::string &path, const std::string &line) {
  FILE *file = std::fopen(path.c_str(), "a");
  if (file == nullptr || std::fputs(line.c_str(), file) < 0 || std::fclose(file) != 0) {
    misuse("log " + path + " cannot be written");
  }
}

}  // namespace

FAKE_API int nvrtcVersion(int *major, int *minor) {
  std::map<std::string, std::string> values = control();
  const std::string text = values.count("version") != 0 ? values["version"] : "13 0";
  return std::sscanf(text.c_str(), "%d %d", major, minor) == 2 ? 0 : 1;
}

FAKE_API int nvrtcCreateProgram(Program **program, const char *source, const char *name, int count,
                                const char *const *headers, const char *const *names) {
  *program = new Program;
  (*program)->files = std::string(name) + ":" + std::to_string(std::strlen(source));
  for (int index = 0; index < count; ++index) {
    (*program)->files +=
        std::string(" ") + names[index] + ":" + std::to_string(std::strlen(headers[index]));
  }
  return 0;
}

FAKE_API int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  std::map<std::string, std::string> values = control();
  std::string line = std::to_string(getpid()) + " " + program->files + " |";
  for (int index = 0; index < count; ++index) {
    const std::string option = options[index];
    line += " " + option;
    if (option.rfind("--gpu-architecture=", 0) == 0) {
      program->image = "tileloom fake image " + option.substr(option.find('=') + 1) + "\n";
    }
  }
  if (values.count("log") != 0) {
    append(values["log"], line + "\n");
  }
  while (values.count("wait") != 0 && access(values["wait"].c_str(), F_OK) != 0) {
    usleep(5000);
    control();  // ends a process whose test is over: the file is gone
  }
  if (values.count("image") != 0) {
    program->image = values["image"] + "\n";
  }
  program->log = values.count("refuse") != 0 ? values["refuse"] : "";
  return program->log.empty() ? 0 : kCompilationFailed;
}

FAKE_API int nvrtcGetProgramLogSize(Program *program, size_t *size) {
  *size = program->log.size() + 1;
  return 0;
}

FAKE_API int nvrtcGetProgramLog(Program *program, char *log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return 0;
}

FAKE_API int nvrtcGetCUBINSize(Program *program, size_t *size) {
  *size = program->image.size();
  return 0;
}

FAKE_API int nvrtcGetCUBIN(Program *program, char *image) {
  std::memcpy(image, program->image.data(), program->image.size());
  return 0;
}

FAKE_API int nvrtcDestroyProgram(Program **program) {
  delete *program;
  *program = nullptr;
  return 0;
}

FAKE_API const char *nvrtcGetErrorString(int result) {
  return result == 0 ? "NVRTC_SUCCESS" : "NVRTC_ERROR_COMPILATION";
}
