// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'f0f16e85a30b54294ec7bdc1da4a3b305254d4479bacf4f968614be971163cc1',
  'assign/grid-scalar@1': 'f0f16e85a30b54294ec7bdc1da4a3b305254d4479bacf4f968614be971163cc1',
  'assign/brute-exact@1': 'f0f16e85a30b54294ec7bdc1da4a3b305254d4479bacf4f968614be971163cc1',
  'aggregate/fused-exact@1': '087026ef10bf6ce33b0fb658740d64e7fcc3134883977794c0a0271e2431b848',
});
