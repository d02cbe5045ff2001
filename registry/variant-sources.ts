// Owns which native sources make up each variant: the input of its source digest.
//
// A source is a path below the repository root. A path that ends in `/` stands for every C++ or CUDA
// file in that folder, in byte order of the names. The digest is SHA-256 over the text
// `<path>\n<SHA-256 of the file>\n` of each file.

/** Digest of a variant that has no sources in this build: SHA-256 of nothing. */
export const NO_SOURCES_DIGEST = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

// The Makefile holds the compiler flags, on which exactness depends.
const SHARED = ['native/Makefile', 'native/include/', 'native/core/'] as const;

export const VARIANT_SOURCES: Readonly<Record<string, readonly string[]>> = Object.freeze({
  'assign/grid-avx2@1': [...SHARED, 'native/kernels/assign/'],
  'assign/grid-scalar@1': [...SHARED, 'native/kernels/assign/'],
  'assign/brute-exact@1': [...SHARED, 'native/kernels/assign/'],
  'assign/cuda-grid-fp64@1': [
    ...SHARED,
    'native/kernels/',
    'native/kernels/assign/',
    'native/kernels/aggregate/',
    'native/cuda/',
  ],
  'assign/cuda-grid-fp32@1': [
    ...SHARED,
    'native/kernels/',
    'native/kernels/assign/',
    'native/kernels/aggregate/',
    'native/cuda/',
  ],
  'aggregate/fused-exact@1': [...SHARED, 'native/kernels/aggregate/'],
});
