/* The C ABI of measurements on the open device: what benches need and no chunk does. It is part of
 * libtileloom_cuda.so and works on the device that tl_device_open opened.
 */
#ifndef TILELOOM_MEASURE_H
#define TILELOOM_MEASURE_H

#include "tileloom_device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  TL_MEASURE_DEVICE_COPY = 0, /* device to device: `bytes` are read and `bytes` are written */
  TL_MEASURE_UPLOAD = 1,      /* pinned host memory to the device */
  TL_MEASURE_DOWNLOAD = 2     /* the device to pinned host memory */
};

/* Copies `bytes` one time to warm up and `repeats` times between events. seconds: [repeats].
 * driver_path as in tl_device_open. TL_DEVICE_MISSING when the driver has no such copy. */
TL_API int tl_device_measure_copy(uint32_t kind, const char *driver_path, uint64_t bytes,
                                  uint32_t repeats, double *seconds, tl_error *error);

enum {
  /* Points lie on the device already: seconds of the kernels of one launch. */
  TL_MEASURE_RESIDENT = 0,
  /* Points lie in pinned host memory: seconds of the wall clock for TL_MEASURE_ROUNDS rounds of
   * upload, kernels and download in every slot, one thread each. */
  TL_MEASURE_PINNED = 1
};

enum { TL_MEASURE_ROUNDS = 8 };

/* 48 bytes. */
typedef struct tl_measure_request {
  uint32_t struct_bytes;
  uint32_t kind; /* TL_MEASURE_RESIDENT or TL_MEASURE_PINNED */
  uint32_t boundary;
  uint32_t overlap;
  uint32_t wrap;
  uint32_t measures;
  uint32_t aggregate;
  uint32_t repeats;
  uint32_t precision; /* of the filter: 0 fp64, 1 fp32 */
  uint32_t reserved[3];
} tl_measure_request;

/* Sums over the tiles, of the last repetition. 64 bytes. */
typedef struct tl_measure_result {
  uint64_t rows;
  uint64_t hits;
  uint64_t outside;
  uint64_t invalid;
  uint64_t ambiguous;      /* rows that the host would have to decide */
  uint64_t host_tiles;     /* tiles whose sums the host would have to make */
  uint64_t upload_bytes;   /* what one pass over the tiles uploads */
  uint64_t download_bytes; /* accumulators, counts and, where needed, ids */
} tl_measure_result;

/* Reads the tiles (as tl_chunk_run takes them) into slots once, then repeats the kernels on them.
 * Resident: all tiles must fit one slot; pinned: they are dealt to the slots in equal ranges.
 * seconds: [repeats]. The index must have a grid. TL_BAD_ARGUMENT when tiles do not fit. */
TL_API int tl_device_measure(const char *geometry_path, const uint8_t geometry_sha256[32],
                             const char *index_path, const tl_measure_request *request,
                             const char *paths, uint64_t paths_bytes, uint64_t files,
                             const tl_tile_in *tiles, uint64_t tile_count,
                             const tl_column_in *columns, uint64_t column_count, double *seconds,
                             tl_measure_result *result, tl_error *error);

#ifdef __cplusplus
}
#endif
#endif
