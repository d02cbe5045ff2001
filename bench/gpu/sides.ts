// Owns the two ways to run a chunk, on the device and on all cores of the same host, and holding their
// answers against each other.
import type { TileInput } from '../../native/index.ts';
import { REGISTRY, variantsOf, type VariantSpec } from '../../registry/index.ts';
import type { Bench, Dataset } from './bench-case.ts';
import { runChunk, type ChunkRun, type ChunkSetup } from './chunk.ts';
import { Refused, type Libraries } from './device.ts';

export interface Sides {
  readonly device: (tiles: readonly TileInput[]) => Promise<ChunkRun>;
  readonly cpu: (tiles: readonly TileInput[]) => Promise<ChunkRun>;
  close(): void;
}

/** What a chunk puts out; tiles must have as many measures. */
export type Output = Pick<ChunkSetup, 'measures' | 'aggregate' | 'rows'>;

export const SUMS: Output = { measures: 1, aggregate: true, rows: false };
/** The feature of each row; values would travel for nothing. */
export const IDS: Output = { measures: 0, aggregate: false, rows: true };

/** Both ways to run a chunk; the device is the open one. */
export function openSides(
  { libraries, device, cores }: Bench,
  dataset: Dataset,
  variant: VariantSpec,
  output: Output,
): Sides {
  const paths = { geometryPath: dataset.layer.geometryPath, indexPath: dataset.indexPath };
  const onDevice = libraries.device.openLayer(paths);
  const onHost = libraries.cpu.openLayer(paths);
  const shared = { boundary: 'half-open', overlap: 'first', ...output } as const;
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

/** Runs both once, which warms up, and holds them against each other. Returns the CPU's run. */
export async function checkSides(
  sides: Sides,
  tiles: readonly TileInput[],
  what: string,
): Promise<ChunkRun> {
  const expected = await sides.cpu(tiles);
  requireEqual(await sides.device(tiles), expected, what);
  return expected;
}

/** Refuses where digests or counts differ; the digest of rows does not cover the counts. */
export function requireEqual(got: ChunkRun, expected: ChunkRun, what: string): void {
  const text = ({ digest, hits, outside, invalid }: ChunkRun): string =>
    `${hits} hits, ${outside} outside, ${invalid} invalid, digest ${digest}`;
  if (text(got) !== text(expected)) {
    throw new Refused(
      `${what}: the device's answer differs from the CPU's: ` +
        `expected ${text(expected)}, got ${text(got)}`,
    );
  }
}
