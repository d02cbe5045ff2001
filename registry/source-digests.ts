// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/grid-scalar@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/brute-exact@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/cuda-grid-fp64@1': 'a7cc05fd16459268d3e0c4fe1adfd90b57596299481d414144a0fb35faa44e94',
  'assign/cuda-grid-fp32@1': 'a7cc05fd16459268d3e0c4fe1adfd90b57596299481d414144a0fb35faa44e94',
  'aggregate/fused-exact@1': 'ac2eff93352e610fa411940ef2434bf7f1e78d2068b20fccca1e806bfb6892c3',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = 'e175a0368d5665d8c77486f6d70f0186';
