// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'a10fe88e0281d1056ec4aa3e1940c5c5468ad3e79e136816df45bc813cbd4a6a',
  'assign/grid-scalar@1': 'a10fe88e0281d1056ec4aa3e1940c5c5468ad3e79e136816df45bc813cbd4a6a',
  'assign/brute-exact@1': 'a10fe88e0281d1056ec4aa3e1940c5c5468ad3e79e136816df45bc813cbd4a6a',
  'aggregate/fused-exact@1': '8dd07ab72a6833d60307ec8abe3e307a4f0e5fc606ce2696151f301b9d98e0d8',
});
