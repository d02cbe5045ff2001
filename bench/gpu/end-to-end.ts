// Owns the cases from files: whole chunks from Arrow files in the page cache, on the device and on all
// cores of the same host. Each is checked against the other before it is timed.
import type { TileInput } from '../../native/index.ts';
import { REGISTRY, variantsOf, type VariantSpec } from '../../registry/index.ts';
import type { Bench, BenchCase, Dataset } from './bench-case.ts';
import { deviceVariants } from './check.ts';
import { runChunk, type ChunkRun, type ChunkSetup } from './chunk.ts';
import type { Libraries } from './device.ts';
import { ratesOf, repeat, share } from './samples.ts';
import { rowsOf } from './tiles.ts';

export interface Sides {
  readonly device: (tiles: readonly TileInput[]) => Promise<ChunkRun>;
  readonly cpu: (tiles: readonly TileInput[]) => Promise<ChunkRun>;
  close(): void;
}

/** Both ways to run a chunk that assigns and sums one measure. */
export function openSides(bench: Bench, dataset: Dataset, variant: VariantSpec): Sides {
  const { libraries, device, cores } = bench;
  const paths = { geometryPath: dataset.layer.geometryPath, indexPath: dataset.indexPath };
  const onDevice = libraries.device.openLayer(paths);
  const onHost = libraries.cpu.openLayer(paths);
  const shared = {
    boundary: 'half-open',
    overlap: 'first',
    measures: 1,
    aggregate: true,
    rows: false,
  } as const;
  const side = (setup: Omit<ChunkSetup, keyof typeof shared>) => (tiles: readonly TileInput[]) =>
    runChunk({ ...shared, ...setup }, tiles);
  return {
    device: side({
      ...{ library: libraries.device, layer: onDevice, symbol: variant.symbol },
      ...{ inFlight: device.slots, arenaBytes: device.slotBytes },
    }),
    cpu: side({
      ...{ library: libraries.cpu, layer: onHost, symbol: bestCpuVariant(libraries).symbol },
      ...{ inFlight: cores, arenaBytes: null },
    }),
    close() {
      onDevice.close();
      onHost.close();
    },
  };
}

/** The first variant of the registry that this host can run: they are in order of speed. */
export function bestCpuVariant({ cpu }: Libraries): {
  readonly id: string;
  readonly symbol: string;
} {
  const found = variantsOf(REGISTRY, 'assign').find(
    ({ library, isa }) => library === 'cpu' && isa.every((flag) => cpu.isa.includes(flag)),
  );
  if (found === undefined) throw new Error('no CPU variant runs on this host');
  return found;
}

/** Runs both once, which warms up, and holds their digests against each other. */
export async function checkSides(
  sides: Sides,
  tiles: readonly TileInput[],
  what: string,
): Promise<void> {
  const expected = await sides.cpu(tiles);
  const got = await sides.device(tiles);
  if (got.digest !== expected.digest) {
    throw new Error(
      `${what}: the device's digest differs from the CPU's: ` +
        `${expected.hits} hits, ${expected.outside} outside, got ${got.hits}, ${got.outside}`,
    );
  }
}

/** The device of each variant and the host's cores beside it, checked against each other first. */
export async function endToEndCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const cases: BenchCase[] = [];
  for (const variant of deviceVariants(bench.libraries.device)) {
    const { onDevice, onCpu } = await casesOf(bench, dataset, variant);
    cases.push(onDevice, onCpu);
  }
  return cases;
}

/** The device's alone: the cores run beside them for the ratio, and have their case already. */
export async function deviceCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const cases: BenchCase[] = [];
  for (const variant of deviceVariants(bench.libraries.device)) {
    cases.push((await casesOf(bench, dataset, variant)).onDevice);
  }
  return cases;
}

interface BothCases {
  readonly onDevice: BenchCase;
  readonly onCpu: BenchCase;
}

async function casesOf(bench: Bench, dataset: Dataset, variant: VariantSpec): Promise<BothCases> {
  const sides = openSides(bench, dataset, variant);
  try {
    const { tiles } = dataset;
    const what = `${dataset.layerName}, ${dataset.order}`;
    await checkSides(sides, tiles, what);
    const rows = rowsOf(tiles);
    const runs: ChunkRun[] = [];
    const device = await repeat(bench.scale.chunkRuns, async () => {
      const run = await sides.device(tiles);
      runs.push(run);
      return run.seconds;
    });
    const cpu = await repeat(bench.scale.chunkRuns, async () => (await sides.cpu(tiles)).seconds);
    const rate = ratesOf(rows, device);
    const cpuRate = ratesOf(rows, cpu);
    const last = runs.at(-1) as ChunkRun;
    const stages = Object.entries(last.stages).map(
      ([name, seconds]) =>
        [`${name}ThreadSeconds`, Number((seconds as number).toPrecision(3))] as const,
    );
    return {
      onDevice: {
        ...{
          case: `from files, device, ${variant.name}, ${what}, ${bench.device.slots} slots`,
          unit: 'rows/s',
          rows,
          rate,
        },
        facts: {
          ...{ timesCpu: share(rate.median, cpuRate.median), repairedRows: last.repairedRows },
          ...Object.fromEntries(stages),
        },
      },
      onCpu: {
        ...{
          case: `from files, CPU (beside ${variant.name}), ${what}, ${bench.cores} cores`,
          unit: 'rows/s',
          rows,
          rate: cpuRate,
        },
        facts: { variant: bestCpuVariant(bench.libraries).id },
      },
    };
  } finally {
    sides.close();
  }
}
