// Owns chunks that tests run twice: on the open device of libtileloom_cuda.so and by the scalar
// variant of libtileloom_cpu.so, whose answers other tests hold to exact oracles.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BoundaryRule, OverlapRule } from '../../../registry/index.ts';
import {
  NativeError,
  openDeviceLibrary,
  openKernels,
  type DeviceLibrary,
  type KernelLibrary,
  type Layer,
  type OpenChunkOptions,
  type TileInput,
  type TileOutput,
} from '../../../native/index.ts';
import { writeGeometry, type Area } from './geometry.ts';
import { nastyPoints } from './nasty.ts';
import { doubles, writeTiles, type Cell, type ColumnData } from './tiles.ts';

export const GPU_SYMBOL = 'tl_assign__grid__fp64__cuda';
export const CPU_SYMBOL = 'tl_assign__grid__fp64__scalar';

export interface ChunkRules {
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
}

/** What a chunk gave, or the error that ended it. */
export interface ChunkAnswer {
  readonly tiles: readonly TileOutput[];
  readonly partials: string;
  readonly repairedRows: number;
  readonly error: NativeError | null;
}

export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Tiles of nasty points with a float64 and an int64 measure; nulls, NaN and infinities in all. */
export function nastyTiles(areas: readonly Area[], rows: readonly number[]): ColumnData[][] {
  const random = randomOf(rows.length + 1);
  const odd = [null, Number.NaN, Infinity, -Infinity, -0, 0, 1e300, -1e-300, 5e-324, 2 ** 1023];
  return rows.map((count, tile) => {
    const points = nastyPoints(areas, tile + 7, count).slice(0, count);
    const pick = (plain: Cell): Cell =>
      tile % 3 !== 0 && random() < 0.05 ? (odd[Math.floor(random() * odd.length)] as Cell) : plain;
    const column = (index: 0 | 1): Cell[] =>
      points.map((point) => (random() < 0.02 ? null : point[index]));
    const values = points.map(() => pick((random() - 0.5) * 10 ** Math.floor(random() * 30 - 15)));
    const big = points.map((_, row) =>
      tile % 2 === 1 && row % 17 === 0
        ? null
        : BigInt.asIntN(64, BigInt(Math.floor(random() * 2 ** 53)) * 0x9e37_79b9n),
    );
    return [
      doubles('x', column(0)),
      doubles('y', column(1)),
      doubles('value', values),
      { name: 'big', type: 'int64' as const, values: big },
    ];
  });
}

/** Both libraries, and layers and data files of a temporary folder. */
export class GpuBench {
  readonly cpu: KernelLibrary = openKernels();
  readonly gpu: DeviceLibrary = openDeviceLibrary();
  readonly #folder = mkdtempSync(join(tmpdir(), 'tileloom-gpu-chunks-'));
  readonly #open: Layer[] = [];
  #files = 0;

  /** The same layer in each library. */
  async layers(areas: readonly Area[], rules: ChunkRules, maxBytes?: number): Promise<Layer[]> {
    const geometryPath = this.path('tlgeom');
    const indexPath = this.path('tlidx');
    writeGeometry(geometryPath, areas);
    const size = maxBytes === undefined ? {} : { maxBytes };
    await this.cpu.buildIndex({ geometryPath, indexPath, durable: false, ...rules, ...size });
    const pair = [this.cpu, this.gpu].map((one) => one.openLayer({ geometryPath, indexPath }));
    this.#open.push(...pair);
    return pair;
  }

  tiles(data: readonly (readonly ColumnData[])[]): TileInput[] {
    return writeTiles(this.cpu, this.path('bin'), data);
  }

  path(extension: string): string {
    this.#files += 1;
    return join(this.#folder, `${this.#files}.${extension}`);
  }

  /** Runs one chunk in batches of `batchTiles`, all at once. */
  async run(
    library: KernelLibrary,
    options: Omit<OpenChunkOptions, 'symbol'>,
    tiles: readonly TileInput[],
    batchTiles: number = tiles.length,
    symbol: string = library === this.gpu ? GPU_SYMBOL : CPU_SYMBOL,
  ): Promise<ChunkAnswer> {
    const batches: TileInput[][] = [];
    for (let from = 0; from < tiles.length; from += batchTiles) {
      batches.push(tiles.slice(from, from + batchTiles));
    }
    const none = { tiles: [], partials: '', repairedRows: 0 };
    try {
      const chunk = library.openChunk({ ...options, symbol });
      try {
        const outputs = await settled(batches.map((batch) => chunk.runBatch(batch)));
        return {
          tiles: outputs.flatMap((batch) => batch.tiles),
          partials: Buffer.from(chunk.finish()).toString('hex'),
          repairedRows: outputs.reduce((sum, batch) => sum + batch.repairedRows, 0),
          error: null,
        };
      } finally {
        chunk.close();
      }
    } catch (error) {
      if (error instanceof NativeError) {
        return { ...none, error };
      }
      throw error;
    }
  }

  remove(): void {
    for (const layer of this.#open) {
      layer.close();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Waits for all, then throws the first failure: no batch is left in flight. */
async function settled<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  const results = await Promise.allSettled(promises);
  return results.map((result) => {
    if (result.status === 'rejected') {
      throw result.reason;
    }
    return result.value;
  });
}
