// Owns the variants of `assign`: which polygon holds each point.
//
// Order matters: policies that score equals alike take the first, so the fastest come first.
//
// Declared rows/s: reference/exact-kernels.md (counties 2048², one Zen 3 core, 10 M points, exact band
// filter on 64-byte records): AVX2 90 M random and 123 M in tile order, scalar 29 M and 68 M.
// Brute force is an estimate: one y-range test of an edge takes about 1 ns, 50 edges 50 ns a row.
// Of the GPU nothing was measured. Rows/s are what reference/spatial.md §6 expects of an H100 with the
// points on the device (5 G, and 3 G with aggregation, taken here for random order); bytes/s of the
// copy are its expectation for PCIe 4 x16 and pinned memory (reference/native-and-io.md §D); fixed
// seconds and fixed bytes are estimates. They say whether a probe is worth while; evidence decides.
import { SOURCE_DIGESTS } from './source-digests.ts';
import type { OperationSpec, VariantSpec } from './types.ts';
import { NO_SOURCES_DIGEST } from './variant-sources.ts';

const COMMON = {
  operation: 'assign',
  version: 1,
  kernelClass: 'predicate',
  numericClass: 'exact',
  geometryFamilies: ['point', 'polygon', 'multipolygon'],
  supportsMixed: true,
  boundaries: ['half-open', 'covers', 'contains'],
  overlaps: ['first', 'all', 'error'],
  minRows: null,
  maxRows: null,
} as const;

const MIB = 1024 * 1024;

const gridAvx2: VariantSpec = {
  ...COMMON,
  id: 'assign/grid-avx2@1',
  name: 'grid-avx2',
  summary: 'Grid of labelled cells, four edges per AVX2 step, exact repair of undecided cells.',
  runtime: 'cpu',
  precisionModes: ['fp64'],
  preferredResidency: 'host',
  isa: ['avx2', 'fma'],
  needsIndex: true,
  tags: ['simd'],
  throughput: {
    rowsPerSecondRandom: 90_000_000,
    rowsPerSecondOrdered: 123_000_000,
    fixedSeconds: 0.002,
  },
  memory: { fixedBytes: 16 * MIB, bytesPerRow: 8, indexFactor: 1 },
  symbol: 'tl_assign__grid__fp64__avx2',
  library: 'cpu',
  sourceDigest: SOURCE_DIGESTS['assign/grid-avx2@1'] ?? NO_SOURCES_DIGEST,
};

const gridScalar: VariantSpec = {
  ...COMMON,
  id: 'assign/grid-scalar@1',
  name: 'grid-scalar',
  summary: 'Grid of labelled cells, portable C++, exact repair of undecided cells.',
  runtime: 'cpu',
  precisionModes: ['fp64'],
  preferredResidency: 'host',
  isa: [],
  needsIndex: true,
  tags: ['portable'],
  throughput: {
    rowsPerSecondRandom: 29_000_000,
    rowsPerSecondOrdered: 68_000_000,
    fixedSeconds: 0.002,
  },
  memory: { fixedBytes: 16 * MIB, bytesPerRow: 8, indexFactor: 1 },
  symbol: 'tl_assign__grid__fp64__scalar',
  library: 'cpu',
  sourceDigest: SOURCE_DIGESTS['assign/grid-scalar@1'] ?? NO_SOURCES_DIGEST,
};

const bruteExact: VariantSpec = {
  ...COMMON,
  id: 'assign/brute-exact@1',
  name: 'brute-exact',
  summary: 'Every edge of every feature for every point, without an index: the oracle.',
  runtime: 'cpu',
  precisionModes: ['fp64'],
  preferredResidency: 'host',
  isa: [],
  needsIndex: false,
  tags: ['oracle', 'portable'],
  throughput: {
    rowsPerSecondRandom: 20_000_000,
    rowsPerSecondOrdered: 20_000_000,
    fixedSeconds: 0.0002,
    verticesAtRate: 50,
  },
  memory: { fixedBytes: 16 * MIB, bytesPerRow: 8, indexFactor: 0 },
  symbol: 'tl_assign__brute__fp64__scalar',
  library: 'cpu',
  sourceDigest: SOURCE_DIGESTS['assign/brute-exact@1'] ?? NO_SOURCES_DIGEST,
};

/** Also what variants that wait for a record differ from. */
export const GRID_CUDA: VariantSpec = {
  ...COMMON,
  id: 'assign/cuda-grid-fp64@1',
  name: 'cuda-grid-fp64',
  summary: 'The labelled grid on a CUDA device, fp64 throughout, exact repair list on the host.',
  runtime: 'gpu',
  precisionModes: ['fp64'],
  preferredResidency: 'device',
  isa: [],
  needsIndex: true,
  tags: ['cuda'],
  throughput: {
    rowsPerSecondRandom: 3_000_000_000,
    rowsPerSecondOrdered: 5_000_000_000,
    fixedSeconds: 0.005,
    uploadBytesPerSecond: 25_000_000_000,
  },
  memory: { fixedBytes: 256 * MIB, bytesPerRow: 24, indexFactor: 1 },
  symbol: 'tl_assign__grid__fp64__cuda',
  library: 'cuda',
  sourceDigest: SOURCE_DIGESTS['assign/cuda-grid-fp64@1'] ?? NO_SOURCES_DIGEST,
};

export const ASSIGN: OperationSpec = {
  name: 'assign',
  summary: 'Assigns each point to the polygons that hold it.',
  kernelClass: 'predicate',
  crossover: null,
  variants: [gridAvx2, gridScalar, bruteExact, GRID_CUDA],
};
