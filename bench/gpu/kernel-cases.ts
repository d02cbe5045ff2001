// Owns the cases without files: kernels on points that lie on the device, and on points in pinned host
// memory. Both run the product's own launches (tileloom_measure.h).
// I1 nothing is timed before a chunk of the same tiles, kernels and device has given the CPU's digests. A
//    timed launch keeps no answer but its counts; they are held against the CPU's as well.
import { PINNED_ROUNDS } from '../../native/index.ts';
import type { KernelMeasurement, MeasureRequest, TileInput } from '../../native/index.ts';
import type { VariantSpec } from '../../registry/index.ts';
import type { Bench, BenchCase, Dataset } from './bench-case.ts';
import { deviceVariants } from './check.ts';
import type { ChunkRun } from './chunk.ts';
import { Refused } from './device.ts';
import { clocksDuring, readClocks, type Clocks } from './nvidia-smi.ts';
import { ratesOf, samplesOf, share } from './samples.ts';
import { checkSides, IDS, openSides, SUMS } from './sides.ts';

const RULES = { boundary: 'half-open', overlap: 'first', wrap: false } as const;

/** Needs a device of one slot that holds all large tiles. */
export async function residentCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const product = dataset.tiles.slice(0, 64);
  const shapes: readonly (readonly [string, readonly TileInput[]])[] = [
    [`${dataset.large.length} tiles of ${dataset.large[0]?.rows ?? 0} rows`, dataset.large],
    [`${product.length} tiles of ${product[0]?.rows ?? 0} rows`, product],
  ];
  const cases: BenchCase[] = [];
  for (const [shape, tiles] of shapes) {
    for (const way of waysOf(bench)) {
      const what = `resident ${nameOf(way, dataset)}, ${shape}`;
      const measured = await measure(bench, dataset, { from: 'resident', tiles, way, what });
      const rate = ratesOf(measured.rows, measured.seconds);
      // Every column is read once; without sums one id of 4 bytes a row is written.
      const written = way.aggregate ? measured.downloadBytes : 4 * measured.rows;
      const bytes = measured.uploadBytes + written;
      const bytesPerSecond = (bytes / measured.rows) * rate.median;
      cases.push({
        ...{ case: what, unit: 'rows/s', rows: measured.rows, rate },
        facts: {
          bytesPerRow: share(bytes, measured.rows),
          roofline: share(bytesPerSecond, bench.ceilings.deviceBytesPerSecond),
          ambiguousRows: measured.ambiguousRows,
          hostTiles: measured.hostTiles,
        },
      });
    }
  }
  return cases;
}

/** Needs a device with the slots of the product. */
export async function pinnedCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const cases: BenchCase[] = [];
  for (const way of waysOf(bench)) {
    const perSlot = 16;
    const tiles = dataset.tiles.slice(0, perSlot * bench.device.slots);
    const what = `from pinned memory, ${nameOf(way, dataset)}`;
    const measured = await measure(bench, dataset, { from: 'pinned', tiles, way, what });
    const rate = ratesOf(measured.rows * PINNED_ROUNDS, measured.seconds);
    const uploaded = (measured.uploadBytes / measured.rows) * rate.median;
    cases.push({
      ...{ case: what, unit: 'rows/s', rows: measured.rows * PINNED_ROUNDS, rate },
      facts: {
        slots: bench.device.slots,
        uploadBytesPerRow: share(measured.uploadBytes, measured.rows),
        link: share(uploaded, bench.ceilings.uploadBytesPerSecond),
      },
    });
  }
  return cases;
}

export interface BusyClocks {
  /** What kept the device busy. */
  readonly load: string;
  readonly clocks: Clocks;
}

/** The most repetitions that a request takes. */
const REPEATS_MAX = 100_000;

/**
 * Clocks while resident kernels run again, for so long that nvidia-smi can answer meanwhile: a case is
 * over before, and asking during it would disturb what is timed. Needs the device of `residentCases`.
 */
export async function busyClocks(bench: Bench, dataset: Dataset): Promise<BusyClocks> {
  const way = waysOf(bench).find(({ aggregate }) => aggregate);
  if (way === undefined) throw new Error('the library has no variant for a device');
  const { libraries, scale, device } = bench;
  const request = requestOf(bench, dataset, { from: 'resident', tiles: dataset.large, way });
  const { seconds } = await libraries.measure.measureKernels(request);
  const wanted = Math.ceil(scale.busySeconds / samplesOf(seconds).median);
  const repeats = Math.max(1, Math.min(wanted, REPEATS_MAX));
  const work = libraries.measure.measureKernels({ ...request, repeats });
  const clocks = await clocksDuring(work, () => readClocks(device.uuid));
  return { load: `resident ${nameOf(way, dataset)}`, clocks };
}

interface Way {
  readonly variant: VariantSpec;
  readonly aggregate: boolean;
}

function waysOf({ libraries }: Bench): readonly Way[] {
  return deviceVariants(libraries.device).flatMap((variant) => [
    { variant, aggregate: false },
    { variant, aggregate: true },
  ]);
}

const nameOf = ({ variant, aggregate }: Way, { layerName, order }: Dataset): string =>
  `${aggregate ? 'assign + aggregate' : 'assign'}, ${variant.name}, ${layerName}, ${order}`;

interface Launches {
  readonly from: MeasureRequest['from'];
  readonly tiles: readonly TileInput[];
  readonly way: Way;
}

function requestOf(
  { scale }: Bench,
  { layer, indexPath }: Dataset,
  { from, tiles, way: { variant, aggregate } }: Launches,
): MeasureRequest {
  const { measures } = aggregate ? SUMS : IDS;
  return {
    ...{ from, geometryPath: layer.geometryPath, indexPath, ...RULES },
    tiles: tiles.map((tile) => ({ ...tile, measures: tile.measures.slice(0, measures) })),
    ...{ measures, aggregate, repeats: scale.kernelRuns },
    precision: variant.precisionModes[0] ?? 'fp64',
  };
}

async function measure(
  bench: Bench,
  dataset: Dataset,
  { what, ...launches }: Launches & { readonly what: string },
): Promise<KernelMeasurement> {
  const request = requestOf(bench, dataset, launches);
  const { variant, aggregate } = launches.way;
  const sides = openSides(bench, dataset, variant, aggregate ? SUMS : IDS);
  try {
    const expected = await checkSides(sides, request.tiles, what);
    const measured = await bench.libraries.measure.measureKernels(request);
    requirePlausible(measured, expected, what);
    return measured;
  } finally {
    sides.close();
  }
}

/** Kernels leave some rows to the host: none of their counts exceeds the CPU's, and no row is lost. */
function requirePlausible(measured: KernelMeasurement, expected: ChunkRun, what: string): void {
  const { rows, hits, outside, invalid, ambiguousRows } = measured;
  const settled = hits + outside + invalid + ambiguousRows;
  const exceeds = hits > expected.hits || outside > expected.outside || invalid > expected.invalid;
  if (exceeds || rows !== expected.rows || settled !== rows) {
    throw new Refused(
      `${what}: kernels counted ${hits} hits, ${outside} outside, ${invalid} invalid and ` +
        `${ambiguousRows} left to the host in ${rows} rows, the CPU ` +
        `${expected.hits}, ${expected.outside} and ${expected.invalid} in ${expected.rows}`,
    );
  }
}
