// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': 'ad1d866b1468e14c96afb51764f5c4fcd3e8a7d8df62ad1bfd426c6e4cc4ec42',
  'assign/grid-scalar@1': 'ad1d866b1468e14c96afb51764f5c4fcd3e8a7d8df62ad1bfd426c6e4cc4ec42',
  'assign/brute-exact@1': 'ad1d866b1468e14c96afb51764f5c4fcd3e8a7d8df62ad1bfd426c6e4cc4ec42',
  'aggregate/fused-exact@1': 'ac9a01a210f6b1414fc889c2bc219f0179569860ecce4c6a663cc7fe7967c07c',
});
