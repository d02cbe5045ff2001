// Owns the cases without files: kernels on points that lie on the device, and on points in pinned host
// memory. Both run the product's own launches (tileloom_measure.h).
import type { KernelMeasurement, MeasureRequest, TileInput } from '../../native/index.ts';
import { PINNED_ROUNDS } from '../../native/index.ts';
import type { VariantSpec } from '../../registry/index.ts';
import type { Bench, BenchCase, Dataset } from './bench-case.ts';
import { deviceVariants } from './check.ts';
import { ratesOf, share } from './samples.ts';

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
    for (const { variant, aggregate } of waysOf(bench)) {
      const measured = await measure(bench, dataset, 'resident', tiles, { variant, aggregate });
      const rate = ratesOf(measured.rows, measured.seconds);
      // Every column is read once; without sums one id of 4 bytes a row is written.
      const bytes = measured.uploadBytes + (aggregate ? measured.downloadBytes : 4 * measured.rows);
      const bytesPerSecond = (bytes / measured.rows) * rate.median;
      const what = aggregate ? 'assign + aggregate' : 'assign';
      cases.push({
        case: `resident ${what}, ${variant.name}, ${dataset.layerName}, ${dataset.order}, ${shape}`,
        ...{ unit: 'rows/s', rows: measured.rows, rate },
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
  for (const { variant, aggregate } of waysOf(bench)) {
    const perSlot = 16;
    const tiles = dataset.tiles.slice(0, perSlot * bench.device.slots);
    const measured = await measure(bench, dataset, 'pinned', tiles, { variant, aggregate });
    const rate = ratesOf(measured.rows * PINNED_ROUNDS, measured.seconds);
    const uploaded = (measured.uploadBytes / measured.rows) * rate.median;
    cases.push({
      case: `from pinned memory, ${aggregate ? 'assign + aggregate' : 'assign'}, ${variant.name}, ${dataset.layerName}, ${dataset.order}`,
      ...{ unit: 'rows/s', rows: measured.rows * PINNED_ROUNDS, rate },
      facts: {
        slots: bench.device.slots,
        uploadBytesPerRow: share(measured.uploadBytes, measured.rows),
        link: share(uploaded, bench.ceilings.uploadBytesPerSecond),
      },
    });
  }
  return cases;
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

async function measure(
  { libraries, scale }: Bench,
  { layer, indexPath }: Dataset,
  from: MeasureRequest['from'],
  tiles: readonly TileInput[],
  { variant, aggregate }: Way,
): Promise<KernelMeasurement> {
  // Without sums the values would travel for nothing.
  const wanted = aggregate ? tiles : tiles.map((tile) => ({ ...tile, measures: [] }));
  const measured = await libraries.measure.measureKernels({
    ...{ from, geometryPath: layer.geometryPath, indexPath, ...RULES, tiles: wanted },
    ...{ measures: aggregate ? 1 : 0, aggregate, repeats: scale.kernelRuns },
    precision: variant.precisionModes[0] ?? 'fp64',
  });
  const settled = measured.hits + measured.outside + measured.invalid + measured.ambiguousRows;
  if (settled !== measured.rows) {
    throw new Error(`kernels counted ${settled} rows of ${measured.rows} (${layer.name}, ${from})`);
  }
  return measured;
}
