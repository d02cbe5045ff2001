// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '06f7854b0be5da5710a7f5e09e65bbc71685b389f70111fd9ca1af9e027c1153',
  'assign/grid-scalar@1': '06f7854b0be5da5710a7f5e09e65bbc71685b389f70111fd9ca1af9e027c1153',
  'assign/brute-exact@1': '06f7854b0be5da5710a7f5e09e65bbc71685b389f70111fd9ca1af9e027c1153',
  'assign/cuda-grid-fp64@1': '91d36b0e5759ce0e360546faecc4ca4503aa13cd959daed758e72fcf75dd000d',
  'assign/cuda-grid-fp32@1': '91d36b0e5759ce0e360546faecc4ca4503aa13cd959daed758e72fcf75dd000d',
  'aggregate/fused-exact@1': 'b8a248a635b914a421327724a66ae75e749e11da412c187b1f5041ebde2e9faf',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = 'e175a0368d5665d8c77486f6d70f0186';
