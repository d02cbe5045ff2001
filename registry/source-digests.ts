// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'efd8f403f46b847e9ead47f1b6c1e01c86a7757672da3f63e1c47b245c6f0402',
  'assign/grid-scalar@1': 'efd8f403f46b847e9ead47f1b6c1e01c86a7757672da3f63e1c47b245c6f0402',
  'assign/brute-exact@1': 'efd8f403f46b847e9ead47f1b6c1e01c86a7757672da3f63e1c47b245c6f0402',
  'assign/cuda-grid-fp64@1': '09f685a18f35ae232ab605c2503ffd4bafb4a3932cfbbc02d2970eaa019bdc39',
  'assign/cuda-grid-fp32@1': '09f685a18f35ae232ab605c2503ffd4bafb4a3932cfbbc02d2970eaa019bdc39',
  'aggregate/fused-exact@1': '3c58a868c39ebf0a8d03634dfc40940df9848f1cf73f98b2fae2fa6670f710d1',
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * `tl_device_sources` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = 'bd9cfe33d325a777cfbf93fa645c65c4';
