// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'e0df50dfbabf17762797d08b59e5d535b6543c332a5a4794220a8eb38550e301',
  'assign/grid-scalar@1': 'e0df50dfbabf17762797d08b59e5d535b6543c332a5a4794220a8eb38550e301',
  'assign/brute-exact@1': 'e0df50dfbabf17762797d08b59e5d535b6543c332a5a4794220a8eb38550e301',
  'assign/cuda-grid-fp64@1': '7d9c9a5d6a831f040c9f433d1050dd51256c2bf56739708dbc2cadd06e9a4102',
  'assign/cuda-grid-fp32@1': '7d9c9a5d6a831f040c9f433d1050dd51256c2bf56739708dbc2cadd06e9a4102',
  'aggregate/fused-exact@1': '3c58a868c39ebf0a8d03634dfc40940df9848f1cf73f98b2fae2fa6670f710d1',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = '0247b373d9e92a75406078c95f81670d';
