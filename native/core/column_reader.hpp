// Reads one column of one tile straight from an Arrow IPC file, and verifies its checksum.
#pragma once

#include "../include/tileloom_kernels.h"
#include "meter.hpp"

namespace tileloom {

// A column in memory. Exactly one of doubles and integers is not null.
struct ColumnValues {
  double *doubles = nullptr;
  int64_t *integers = nullptr;
  const uint8_t *validity = nullptr;  // Arrow bitmap or null
};

// Throws TL_SHORT_READ, TL_IO_ERROR, TL_CHECKSUM_MISMATCH, TL_BAD_ARGUMENT.
ColumnValues read_column(int file, const tl_column_in &column, uint64_t rows,
                         Buffer<uint8_t> &memory);

// Makes coordinates of a column: int64 becomes double, nulls become NaN. Returns the values.
double *as_coordinates(const ColumnValues &values, uint64_t rows);

// x in [180, 540) becomes x - 360, which is exact.
void wrap_longitudes(double *x, uint64_t rows);

// The same, into column_bytes_max(rows) bytes of 8-byte aligned memory that the caller owns.
ColumnValues read_column_into(int file, const tl_column_in &column, uint64_t rows, uint8_t *memory);

uint64_t column_bytes_max(uint64_t rows);

}  // namespace tileloom
