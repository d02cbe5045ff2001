// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/grid-scalar@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/brute-exact@1': '9e45e999b9748fef5efee819732ead1ffa9a83903fc0d40e566bb0d57bd6bccb',
  'assign/cuda-grid-fp64@1': 'c21f68593fa6ee030eaaeabdc5ee80f852fb4e5a7d14274271eb10b94dee490d',
  'assign/cuda-grid-fp32@1': 'c21f68593fa6ee030eaaeabdc5ee80f852fb4e5a7d14274271eb10b94dee490d',
  'aggregate/fused-exact@1': 'f26626db862786b6bcb59281a95dc31a1eee3fdf77d2132dc70d799869315372',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = '501992c2c99b7bc907e9739c33e14532';
