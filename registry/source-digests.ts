// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of `variant-sources.ts`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
  'assign/grid-avx2@1': '3fbc370607a4fe10c4b3d04cec1bdce7a57b96afeae158d0ea65318a0af81bfa',
  'assign/grid-scalar@1': '3fbc370607a4fe10c4b3d04cec1bdce7a57b96afeae158d0ea65318a0af81bfa',
  'assign/brute-exact@1': '3fbc370607a4fe10c4b3d04cec1bdce7a57b96afeae158d0ea65318a0af81bfa',
  'aggregate/fused-exact@1': '2240a104993612a6db182c61df3985406b5b2bcf239ca6f970eff3363f6bc3c2',
});
