#include "column_reader.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "failure.hpp"
#include "hash128.hpp"

namespace tileloom {
namespace {

constexpr uint64_t kAlignment = 64;

uint64_t validity_room(uint64_t rows) {
  return (rows / 8 + 1 + kAlignment - 1) / kAlignment * kAlignment;
}

void read_exactly(int file, void *into, uint64_t size, uint64_t offset) {
  if (offset > INT64_MAX - size) {
    throw Failure(TL_BAD_ARGUMENT, "has an offset out of range: got " + std::to_string(offset));
  }
  uint8_t *at = static_cast<uint8_t *>(into);
  for (uint64_t done = 0; done < size;) {
    const ssize_t got = pread(file, at + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw system_failure(TL_IO_ERROR, "cannot be read", errno);
    }
    if (got == 0) {
      throw Failure(TL_SHORT_READ, "is cut off: expected " + std::to_string(size) +
                                       " bytes at offset " + std::to_string(offset) + ", got " +
                                       std::to_string(done));
    }
    done += static_cast<uint64_t>(got);
  }
}

std::string hexadecimal(const uint8_t *bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (int index = 0; index < 16; ++index) {
    text += digits[bytes[index] >> 4];
    text += digits[bytes[index] & 15];
  }
  return text;
}

}  // namespace

uint64_t column_bytes_max(uint64_t rows) { return validity_room(rows) + rows * 8 + kAlignment; }

ColumnValues read_column(int file, const tl_column_in &column, uint64_t rows,
                         Buffer<uint8_t> &memory) {
  memory.reserve_discarding(column_bytes_max(rows));
  return read_column_into(file, column, rows, memory.data());
}

ColumnValues read_column_into(int file, const tl_column_in &column, uint64_t rows,
                              uint8_t *memory) {
  if (column.type != TL_TYPE_FLOAT64 && column.type != TL_TYPE_INT64) {
    throw Failure(TL_BAD_ARGUMENT, "has an unknown type: got " + std::to_string(column.type));
  }
  // The validity bytes end where the values begin, so that one pass hashes both.
  uint8_t *values = memory + validity_room(rows);
  const bool nullable = column.validity_offset != TL_NOT_GIVEN;
  const uint64_t validity_bytes = nullable ? (rows + 7) / 8 : 0;
  uint8_t *start = values - validity_bytes;
  if (nullable) {
    read_exactly(file, start, validity_bytes, column.validity_offset);
  }
  read_exactly(file, values, rows * 8, column.data_offset);
  if (column.has_checksum != 0) {
    const Digest128 digest = hash128(start, validity_bytes + rows * 8);
    if (std::memcmp(digest.bytes, column.checksum, sizeof digest.bytes) != 0) {
      throw Failure(TL_CHECKSUM_MISMATCH,
                    "differs from its checksum: expected " + hexadecimal(column.checksum) +
                        ", got " + hexadecimal(digest.bytes) + "; the file changed or is damaged");
    }
  }
  ColumnValues result;
  if (column.type == TL_TYPE_FLOAT64) {
    result.doubles = reinterpret_cast<double *>(values);
  } else {
    result.integers = reinterpret_cast<int64_t *>(values);
  }
  result.validity = nullable ? start : nullptr;
  return result;
}

double *as_coordinates(const ColumnValues &values, uint64_t rows) {
  double *doubles = values.doubles;
  if (doubles == nullptr) {
    // In place, one value at a time: both types take eight bytes.
    uint8_t *bytes = reinterpret_cast<uint8_t *>(values.integers);
    for (uint64_t row = 0; row < rows; ++row) {
      int64_t integer;
      std::memcpy(&integer, bytes + 8 * row, 8);
      const double value = static_cast<double>(integer);
      std::memcpy(bytes + 8 * row, &value, 8);
    }
    doubles = reinterpret_cast<double *>(bytes);
  }
  if (values.validity != nullptr) {
    for (uint64_t row = 0; row < rows; ++row) {
      if ((values.validity[row >> 3] >> (row & 7) & 1) == 0) {
        doubles[row] = __builtin_nan("");
      }
    }
  }
  return doubles;
}

void wrap_longitudes(double *x, uint64_t rows) {
  for (uint64_t row = 0; row < rows; ++row) {
    const double value = x[row];
    const bool wraps = (value >= 180.0) & (value < 540.0);
    x[row] = wraps ? value - 360.0 : value;
  }
}

}  // namespace tileloom
