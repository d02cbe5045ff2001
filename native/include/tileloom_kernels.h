/* The whole C ABI of the tileloom kernels: every entry point, struct and status code.
 *
 * Conventions
 * - Every function returns a status: TL_OK or a TL_* code; details go to *error unless it is NULL.
 * - No C++ exception leaves a function. Null pointers mean "not given".
 * - Each call that computes sets the floating point environment it needs and restores the caller's.
 * - All multi-byte values are little-endian; handles are opaque and owned by the caller, who closes
 *   them. Different handles may be used from different threads at once; a chunk may run several
 *   batches at once.
 * - Structs start with `struct_bytes` where they may grow: a callee refuses a smaller one.
 */
#ifndef TILELOOM_KERNELS_H
#define TILELOOM_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TL_API __attribute__((visibility("default")))
#else
#define TL_API
#endif

#define TL_ABI_VERSION 1

enum {
  TL_OK = 0,
  TL_BAD_ARGUMENT = 1,      /* a null, a range, an option that the callee does not know */
  TL_OUT_OF_MEMORY = 2,     /* an allocation failed; the handle stays usable only for closing */
  TL_IO_ERROR = 3,          /* open, read, write or rename failed: os_errno says how */
  TL_SHORT_READ = 4,        /* a file ends before the bytes a descriptor promised */
  TL_CHECKSUM_MISMATCH = 5, /* a column's XXH3-128 differs: tile and column say which */
  TL_BAD_GEOMETRY = 6,      /* a .tlgeom that is not one, or is inconsistent */
  TL_BAD_INDEX = 7,         /* a .tlidx that is not one, is damaged or belongs to something else */
  TL_ISA_MISSING = 8,       /* the processor lacks an instruction set of the variant */
  TL_OVERLAP_FOUND = 9, /* overlap "error": a point lies in two features: tile and row say which */
  TL_CANCELLED = 10,    /* the chunk was cancelled between two tiles */
  TL_NO_SUCH_SYMBOL = 11,   /* an external library or its symbol cannot be loaded */
  TL_KERNEL_FAILED = 12,    /* an assign function failed or wrote a result out of range */
  TL_LOCK_TIMEOUT = 13,     /* another process holds the lock */
  TL_BUFFER_TOO_SMALL = 14, /* the caller's buffer is too small; the needed size was written */
  TL_BAD_STATE = 15,        /* the chunk failed or was finished before */
  TL_INTERNAL = 16,         /* an invariant of the library broke */
  TL_DEVICE_MISSING = 17,   /* no driver, no device, a driver too old: the text says which */
  TL_IMAGE_UNUSABLE = 18,   /* no kernel image for the device, and none could be compiled */
  TL_DEVICE_FAILED = 19,    /* a driver call failed: device_error says how; the device is usable */
  TL_DEVICE_LOST = 20       /* an error that sticks to the process: it must be replaced */
};

enum { TL_BOUNDARY_HALF_OPEN = 0, TL_BOUNDARY_COVERS = 1, TL_BOUNDARY_CONTAINS = 2 };
enum { TL_OVERLAP_FIRST = 0, TL_OVERLAP_ALL = 1, TL_OVERLAP_ERROR = 2 };
enum { TL_TYPE_FLOAT64 = 0, TL_TYPE_INT64 = 1 };
enum { TL_OUTSIDE = -1, TL_INVALID = -2 };
enum { TL_ISA_AVX2 = 1, TL_ISA_FMA = 2, TL_ISA_AVX512F = 4 };
#define TL_NOT_GIVEN UINT64_MAX

/* Facts about a failure. tile, row and column are -1 where they do not apply; column 0 is x, 1 is
 * y, 2 and up are the measures in order. 544 bytes. */
typedef struct tl_error {
  int32_t status;
  int32_t os_errno;
  int64_t tile;
  int64_t row;
  int32_t column;
  int32_t device_error; /* CUresult of the driver, 0 where there is none */
  char text[512];       /* UTF-8, NUL-terminated */
} tl_error;

/* ---- Assign variants -------------------------------------------------------------------------
 * An assign function decides for each point which features contain it, exactly, on the doubles as
 * given. Third parties may export functions of this type from their own library.
 */

/* One layer: the arrays of a .tlgeom file (docs/formats.md), the boxes of its parts, its index. */
typedef struct tl_layer_view {
  uint32_t struct_bytes;
  uint32_t reserved;
  uint64_t features;
  uint64_t parts;
  uint64_t rings;
  uint64_t vertices;
  const uint32_t *feature_parts; /* [features + 1] */
  const uint32_t *part_rings;    /* [parts + 1] */
  const uint64_t *ring_vertices; /* [rings + 1] */
  const double *x;               /* [vertices], rings closed, finite */
  const double *y;               /* [vertices] */
  const double
      *part_boxes;   /* [parts][4]: min x, min y, max x, max y; inf, inf, -inf, -inf if empty */
  const void *index; /* bytes of the .tlidx file, 64-byte aligned, or NULL */
  uint64_t index_bytes;
} tl_layer_view;

/* One call: `rows` points in, results out.
 *
 * x and y are the coordinates after wrapping; null rows arrive as NaN. A point with a NaN or
 * infinite coordinate is invalid. overlap first: ids[i] is the lowest feature that contains point
 * i, TL_OUTSIDE or TL_INVALID. overlap error: the same, but a point in two features ends the call
 * with TL_OVERLAP_FOUND and error_row set to the lowest such row. overlap all:   ids[i] is the
 * number of features that contain point i, or TL_INVALID; `pairs` receives their indices, row by
 * row, ascending; pairs_used is their number. When pairs_capacity is too small the call ends with
 * TL_BUFFER_TOO_SMALL and a sufficient or larger number in pairs_used. The function may be called
 * from several threads at once and must not keep pointers.
 */
typedef struct tl_assign_args {
  uint32_t struct_bytes;
  uint32_t boundary;
  uint32_t overlap;
  uint32_t reserved;
  const tl_layer_view *layer;
  uint64_t rows;
  const double *x;
  const double *y;
  int32_t *ids;
  int32_t *pairs;
  uint64_t pairs_capacity;
  uint64_t pairs_used;
  int64_t error_row;
} tl_assign_args;

/* text receives at most text_bytes bytes including the NUL when the status is not TL_OK. */
typedef int (*tl_assign_fn)(tl_assign_args *args, char *text, uint64_t text_bytes);

/* assign/brute-exact@1: every edge of every part whose box holds the point; the oracle. */
TL_API int tl_assign__brute__fp64__scalar(tl_assign_args *args, char *text, uint64_t text_bytes);
/* assign/grid-scalar@1: grid index, any x86-64 processor. */
TL_API int tl_assign__grid__fp64__scalar(tl_assign_args *args, char *text, uint64_t text_bytes);
/* assign/grid-avx2@1: grid index, AVX2 and FMA; TL_ISA_MISSING where they are absent. */
TL_API int tl_assign__grid__fp64__avx2(tl_assign_args *args, char *text, uint64_t text_bytes);

/* ---- Facts ---------------------------------------------------------------------------------- */

TL_API int tl_abi_version(void);
/* Writes TL_ISA_* bits of what processor and operating system support. */
TL_API int tl_cpu_features(uint64_t *bits);
/* XXH3-128, seed 0, canonical big-endian form. */
TL_API int tl_hash128(const void *bytes, uint64_t size, uint8_t out[16]);
/* abp: ax, ay, bx, by, px, py, all finite. Writes the exact sign of (b - a) x (p - a). */
TL_API int tl_orientation_sign(const double *abp, int32_t *sign, tl_error *error);

/* What exact summation knows about some values. 72 bytes. */
typedef struct tl_sum_result {
  uint64_t count; /* neither null nor NaN, infinities included */
  uint64_t nulls;
  uint64_t nans;
  uint64_t plus_inf;
  uint64_t minus_inf;
  double sum;  /* exact sum rounded once; +-inf, NaN with both infinities; 0 when count is 0 */
  double mean; /* exact sum / count rounded once */
  double min;
  double max;
} tl_sum_result;

/* validity: Arrow bitmap (least significant bit first) or NULL. splits: the values are summed as
 * that many separate tiles (at least 1), merged at the end; the result does not depend on it. */
TL_API int tl_exact_sum(const double *values, const uint8_t *validity, uint64_t count,
                        uint64_t splits, tl_sum_result *out, tl_error *error);

/* ---- Index and layer ------------------------------------------------------------------------ */

typedef struct tl_index_info {
  uint64_t bytes;
  uint64_t records; /* boundary cells */
  uint64_t edges;   /* unique edges */
  uint32_t columns; /* cells in x; 0 when kind is 1 */
  uint32_t rows;
  uint32_t kind; /* 0 grid, 1 no grid: every point takes the exact path over all edges */
  uint32_t reserved;
  uint8_t digest[16]; /* XXH3-128 of the index, its identity */
} tl_index_info;

/* Builds the index of a layer for one boundary and overlap rule and writes it to a temporary file
 * that is renamed to index_path. Deterministic: equal geometry and options give equal bytes.
 * durable 0: the file is not synced; a crash may leave one that tl_layer_open refuses.
 * bytes_max: target for the index and the builder's peak together; the grid gets coarser to keep
 * it. */
TL_API int tl_index_build(const char *geometry_path, const uint8_t geometry_sha256[32],
                          const char *index_path, uint32_t boundary, uint32_t overlap,
                          uint64_t bytes_max, uint32_t durable, tl_index_info *info,
                          tl_error *error);

typedef struct tl_layer tl_layer;

typedef struct tl_layer_info {
  uint64_t features;
  uint64_t parts;
  uint64_t rings;
  uint64_t vertices;
  uint64_t resident_bytes; /* memory held: index copy and part boxes */
  uint64_t mapped_bytes;   /* mapped geometry file */
  tl_index_info index;     /* all zero without an index */
} tl_layer_info;

/* index_path NULL: only variants that need no index can use the layer. Verifies magic, version,
 * sizes, offsets and the index digest, and that the index was built from a geometry with this
 * SHA-256. */
TL_API int tl_layer_open(const char *geometry_path, const uint8_t geometry_sha256[32],
                         const char *index_path, tl_layer **out, tl_layer_info *info,
                         tl_error *error);
/* Chunks that use the layer keep it alive. */
TL_API int tl_layer_close(tl_layer *layer);

/* Assigns points held in memory: for checks and measurements. ids: [rows]. For overlap all, pairs
 * as in tl_assign_args; *pairs_used is written. library: path of an external library, or NULL. */
TL_API int tl_assign_points(tl_layer *layer, const char *library, const char *symbol,
                            uint32_t boundary, uint32_t overlap, uint32_t wrap, uint64_t rows,
                            const double *x, const double *y, int32_t *ids, int32_t *pairs,
                            uint64_t pairs_capacity, uint64_t *pairs_used, tl_error *error);

/* ---- Chunk: fused read, verify, assign, aggregate, encode ----------------------------------- */

typedef struct tl_chunk tl_chunk;

typedef struct tl_chunk_options {
  uint32_t struct_bytes;
  uint32_t boundary;
  uint32_t overlap;
  uint32_t wrap;      /* 1: x in [180, 540) becomes x - 360 */
  uint32_t measures;  /* measured columns, at most 64 */
  uint32_t aggregate; /* 1: keep per-feature accumulators */
  uint32_t rows;      /* 1: return the per-row result */
  uint32_t reserved;
} tl_chunk_options;

/* symbol: an assign function of this library, or of `library` (a path) when that is given. */
TL_API int tl_chunk_open(tl_layer *layer, const char *library, const char *symbol,
                         const tl_chunk_options *options, tl_chunk **out, tl_error *error);

/* One column of one tile. 48 bytes. Offsets are absolute in the file. */
typedef struct tl_column_in {
  uint64_t data_offset;     /* rows x 8 bytes */
  uint64_t validity_offset; /* ceil(rows / 8) bytes, or TL_NOT_GIVEN */
  uint32_t type;            /* TL_TYPE_*; int64 coordinates are rounded to double */
  uint32_t has_checksum;
  uint8_t checksum[16]; /* XXH3-128 of validity bytes, if given, then value bytes; big-endian */
  uint64_t reserved;
} tl_column_in;

/* One tile. Its columns are columns[first_column], … : x, y, then the measures. 32 bytes. */
typedef struct tl_tile_in {
  uint64_t tile;
  uint64_t rows; /* at most 2^31 - 1 */
  uint32_t file; /* index into tl_batch_in.paths */
  uint32_t reserved;
  uint64_t first_column;
} tl_tile_in;

/* What one tile gave. 64 bytes. row_values: int32s of its per-row result, 0 unless rows. */
typedef struct tl_tile_out {
  uint64_t tile;
  uint64_t rows;
  uint64_t hits;
  uint64_t outside;
  uint64_t invalid;
  uint8_t digest[16];
  uint64_t row_values;
} tl_tile_out;

/* 56 bytes. */
typedef struct tl_batch_out {
  double read_seconds;   /* pread and checksums */
  double kernel_seconds; /* assign and accumulate; on a device: in its kernels */
  double write_seconds;  /* encode, digest, merge; on a device also exact repair */
  double upload_seconds; /* copies to the device; 0 on a CPU */
  double download_seconds;
  uint64_t repaired_rows; /* decided by the host after the device could not; 0 on a CPU */
  uint64_t row_values;    /* int32s in the rows buffer */
} tl_batch_out;

typedef struct tl_rows tl_rows;

/* Bytes that one more batch in flight may need at most, tiles having at most tile_rows rows. */
TL_API int tl_chunk_estimate(tl_chunk *chunk, uint64_t tile_rows, uint64_t batch_rows,
                             uint64_t *bytes);

/* Runs the tiles in order. paths: file names, each NUL-terminated, one after the other.
 * rows_out: receives the per-row results of all tiles, in order; take them with tl_rows_take.
 * A failure names the tile; the chunk is then failed: later batches and finish answer TL_BAD_STATE.
 */
TL_API int tl_chunk_run(tl_chunk *chunk, const char *paths, uint64_t paths_bytes, uint64_t files,
                        const tl_tile_in *tiles, uint64_t tile_count, const tl_column_in *columns,
                        uint64_t column_count, tl_tile_out *tiles_out, tl_batch_out *batch_out,
                        tl_rows **rows_out, tl_error *error);
/* Copies the row values into out ([row_values]) and frees the handle; out NULL only frees. */
TL_API int tl_rows_take(tl_rows *rows, int32_t *out, uint64_t capacity);

/* Tiles finished so far. */
TL_API int tl_chunk_progress(tl_chunk *chunk, uint64_t *tiles);
/* Running batches end with TL_CANCELLED before their next tile. */
TL_API int tl_chunk_cancel(tl_chunk *chunk);
/* Highest number of bytes the chunk's buffers and accumulators held together so far. */
TL_API int tl_chunk_peak(tl_chunk *chunk, uint64_t *bytes);
/* Encodes the merged TLP1 of all batches and writes its size; no batch may be running. */
TL_API int tl_chunk_finish(tl_chunk *chunk, uint64_t *bytes, tl_error *error);
/* Copies what finish encoded. */
TL_API int tl_chunk_partials(tl_chunk *chunk, uint8_t *out, uint64_t capacity);
TL_API int tl_chunk_close(tl_chunk *chunk);

/* ---- Process -------------------------------------------------------------------------------- */

/* Asks the kernel to kill this process when its parent dies; TL_BAD_STATE when the parent is not
 * expected_parent any more (pass 0 to skip the check). */
TL_API int tl_die_with_parent(int32_t expected_parent);
/* Takes an exclusive lock on a file, creating it; waits at most wait_ms. The lock ends with the
 * process or with tl_lock_release. */
TL_API int tl_lock_acquire(const char *path, uint32_t wait_ms, int32_t *lock, tl_error *error);
TL_API int tl_lock_release(int32_t lock);

#ifdef __cplusplus
}
#endif
#endif
