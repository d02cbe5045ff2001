// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({});
