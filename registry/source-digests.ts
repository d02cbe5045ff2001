// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'd24b9dd1b3e93de66e70e5e0211d1abc1bf6c9fbcbeaa534f08c3981835a309c',
  'assign/grid-scalar@1': 'd24b9dd1b3e93de66e70e5e0211d1abc1bf6c9fbcbeaa534f08c3981835a309c',
  'assign/brute-exact@1': 'd24b9dd1b3e93de66e70e5e0211d1abc1bf6c9fbcbeaa534f08c3981835a309c',
  'aggregate/fused-exact@1': '79faad18a2a9108ec8f7d3f7770da5a458055dbe918db5b28255a616a6f25b4f',
});
