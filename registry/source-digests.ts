// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '39a68557147e64e73d69bd7f472b46463bf1188c9a4840eaaa989b2fa4d4160c',
  'assign/grid-scalar@1': '39a68557147e64e73d69bd7f472b46463bf1188c9a4840eaaa989b2fa4d4160c',
  'assign/brute-exact@1': '39a68557147e64e73d69bd7f472b46463bf1188c9a4840eaaa989b2fa4d4160c',
  'assign/cuda-grid-fp64@1': '69cc72d43bd651c10140d394ad567bc3bf24d0176a1e68f07887cade5739af1e',
  'aggregate/fused-exact@1': '805b646be9b31e98c75a5bd6a31bd2caf482e473e4d72d7672e10e2b9dcef169',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = '9fa9cac038a9fbcfd5d43743404bc470';
