// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '3ce525dd1d67892d3117818b05f7df255800d558b2cf1d10e9684bdc92bae854',
  'assign/grid-scalar@1': '3ce525dd1d67892d3117818b05f7df255800d558b2cf1d10e9684bdc92bae854',
  'assign/brute-exact@1': '3ce525dd1d67892d3117818b05f7df255800d558b2cf1d10e9684bdc92bae854',
  'assign/cuda-grid-fp64@1': '6780c9606d6fd9b04a8af92fc2ef04ae4f8f7b31a42adef899f8c9c49a0e0d3f',
  'assign/cuda-grid-fp32@1': '6780c9606d6fd9b04a8af92fc2ef04ae4f8f7b31a42adef899f8c9c49a0e0d3f',
  'aggregate/fused-exact@1': '93b6de29975df53dd6f5942f50dd6143f0bf3ba3f699256896fe604785a6926a',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = 'e175a0368d5665d8c77486f6d70f0186';
