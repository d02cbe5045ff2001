/* The C ABI that libtileloom_cuda.so adds to tileloom_kernels.h: one device per process.
 *
 * The library links nothing of CUDA and loads anywhere. tl_device_open opens the driver, a device
 * and the kernels' image, or says exactly what is missing. After that, chunks and points whose
 * symbol is tl_assign__grid__fp64__cuda or tl_assign__grid__fp32__cuda run on the device; other
 * symbols run as in libtileloom_cpu.so.
 */
#ifndef TILELOOM_DEVICE_H
#define TILELOOM_DEVICE_H

#include "tileloom_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* assign/cuda-grid-fp64@1: grid index on the open device; TL_DEVICE_MISSING when none is open. */
TL_API int tl_assign__grid__fp64__cuda(tl_assign_args *args, char *text, uint64_t text_bytes);
/* assign/cuda-grid-fp32@1: the same with a filter in single precision, and the same answers. */
TL_API int tl_assign__grid__fp32__cuda(tl_assign_args *args, char *text, uint64_t text_bytes);

/* One device of the driver as it is before it is opened. 232 bytes. */
typedef struct tl_device_entry {
  uint64_t total_bytes;
  uint32_t ordinal;         /* of the driver, after CUDA_VISIBLE_DEVICES */
  uint32_t capability;      /* 90 is compute capability 9.0; 0: the device does not answer */
  uint32_t multiprocessors; /* 0: the driver does not tell */
  uint32_t fp32_per_fp64;   /* single : double precision throughput; 0: the driver does not tell */
  char uuid[48];            /* "GPU-" and 8-4-4-4-12 hex digits; empty: the driver does not tell */
  char pci_bus_id[32];      /* domain:bus:device.function */
  char name[128];
} tl_device_entry;

/* Lists the devices of the driver without making a context. *count receives their number, which may
 * exceed capacity; *driver_version as in tl_device_info, 0 when the driver could not be asked.
 * TL_DEVICE_MISSING: no driver, one that is too old, or one without a device. */
TL_API int tl_device_list(const char *driver_path, tl_device_entry *entries, uint32_t capacity,
                          uint32_t *count, uint32_t *driver_version, tl_error *error);

/* 32 bytes. */
typedef struct tl_device_options {
  uint32_t struct_bytes;
  uint32_t ordinal; /* of the driver, after CUDA_VISIBLE_DEVICES */
  uint32_t slots;   /* batches in flight at most, 0: 3 */
  uint32_t reserved;
  uint64_t memory_bytes; /* device memory that arenas and indexes may take; 0: 7/8 of free */
  uint64_t slot_bytes;   /* one arena, and its pinned mirror; 0: 256 MiB, less if scarce */
} tl_device_options;

/* XXH3-128 of the embedded kernel sources and compile options, 16 bytes. An image made of others is
 * never used. Needs no driver. */
TL_API int tl_device_sources(uint8_t *digest);

enum { TL_IMAGE_AHEAD_OF_TIME = 0, TL_IMAGE_COMPILED = 1, TL_IMAGE_CACHED = 2 };

/* 368 bytes. */
typedef struct tl_device_info {
  uint64_t total_bytes;
  uint64_t memory_bytes; /* the budget in force */
  uint64_t slot_bytes;
  uint32_t slots;
  uint32_t driver_version;    /* 13000 is CUDA 13.0 */
  uint32_t capability;        /* 90 is compute capability 9.0 */
  uint32_t image;             /* TL_IMAGE_* */
  uint8_t image_digest[16];   /* XXH3-128 of the image in use */
  uint8_t sources_digest[16]; /* as tl_device_sources tells it */
  char name[128];
  char uuid[48]; /* as in tl_device_entry */
  char pci_bus_id[32];
  char image_note[88]; /* why the image ahead of time was not used, short; empty when it was */
} tl_device_info;

/* Paths are NUL-terminated; NULL means the usual place: libcuda.so.1; libnvrtc.so.13, then .12;
 * tileloom_cuda.fatbin beside this library; no folder for images compiled here, so none are kept.
 * TL_DEVICE_MISSING, TL_IMAGE_UNUSABLE, TL_OUT_OF_MEMORY, TL_DEVICE_FAILED, TL_DEVICE_LOST;
 * TL_BAD_STATE while one is open. */
TL_API int tl_device_open(const tl_device_options *options, const char *driver_path,
                          const char *nvrtc_path, const char *image_path, const char *cache_path,
                          tl_device_info *info, tl_error *error);
/* Frees everything; TL_BAD_STATE while a chunk holds the device. Nothing open is no error. */
TL_API int tl_device_close(tl_error *error);

/* 120 bytes. Seconds are sums over all batches. */
typedef struct tl_device_stats {
  uint64_t held_bytes; /* device memory now */
  uint64_t peak_bytes; /* and at most so far */
  uint64_t resident_bytes;
  uint64_t resident_indexes;
  uint64_t uploads;   /* of indexes */
  uint64_t evictions; /* of indexes */
  uint64_t launches;
  uint64_t rows;          /* assigned on the device */
  uint64_t repaired_rows; /* of them decided by the host */
  uint64_t host_tiles;    /* aggregated by the host */
  double read_seconds;
  double upload_seconds;
  double kernel_seconds;
  double download_seconds;
  double write_seconds;
} tl_device_stats;

TL_API int tl_device_statistics(tl_device_stats *stats, tl_error *error);

#ifdef __cplusplus
}
#endif
#endif
