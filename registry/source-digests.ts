// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '3845dd14ad5cc320cac9c315dd9f56853892e8540764928089e0e3e85626c3a2',
  'assign/grid-scalar@1': '3845dd14ad5cc320cac9c315dd9f56853892e8540764928089e0e3e85626c3a2',
  'assign/brute-exact@1': '3845dd14ad5cc320cac9c315dd9f56853892e8540764928089e0e3e85626c3a2',
  'assign/cuda-grid-fp64@1': 'ec9d1476d2e8674cab140cf80fb7941da5f552b4bab180a73debf07c9ec5ab07',
  'aggregate/fused-exact@1': 'a37c31ff3465d9c2489c7a648e2143dfb80ef13ea1897e4c2c5d42a6e60836a4',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = '54b663759ed200740c9c1ce3387db323';
