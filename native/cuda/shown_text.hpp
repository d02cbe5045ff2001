// Long texts cut for a message, never inside a character of UTF-8.
#pragma once

#include <cstddef>
#include <string>

namespace tileloom {

inline bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

inline std::string start_of(const std::string &text, size_t bytes_max) {
  if (text.size() <= bytes_max) {
    return text;
  }
  size_t size = bytes_max - 3;
  while (size > 0 && continues_character(text[size])) {
    size -= 1;
  }
  return text.substr(0, size) + "...";
}

// For paths and what begins with one: the end says more.
inline std::string end_of(const std::string &text, size_t bytes_max) {
  if (text.size() <= bytes_max) {
    return text;
  }
  size_t from = text.size() - bytes_max + 3;
  while (from < text.size() && continues_character(text[from])) {
    from += 1;
  }
  return "..." + text.substr(from);
}

}  // namespace tileloom
