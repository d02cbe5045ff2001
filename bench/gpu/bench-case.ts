// Owns what a case of the GPU bench is, and what all cases share.
import type { DeviceInfo, TileInput } from '../../native/index.ts';
import type { Libraries } from './device.ts';
import type { LayerFiles, LayerName } from './layers.ts';
import type { Samples } from './samples.ts';

export type Order = 'random' | 'tile order';

export interface BenchCase {
  readonly case: string;
  readonly unit: 'rows/s' | 'bytes/s';
  readonly rows: number | null;
  readonly rate: Samples;
  /** Shares and facts of the case; `method` says what they are. */
  readonly facts: Readonly<Record<string, number | string>>;
}

/** One layer and order: files of tiles, and the layer's index. */
export interface Dataset {
  readonly layer: LayerFiles;
  readonly layerName: LayerName;
  readonly order: Order;
  readonly indexPath: string;
  readonly indexBytes: number;
  /** Tiles of the product's size. */
  readonly tiles: readonly TileInput[];
  /** Tiles of a million rows, at most 64: one launch that outgrows every cache. */
  readonly large: readonly TileInput[];
}

export interface Scale {
  readonly rows: number;
  readonly tileRows: number;
  readonly largeTileRows: number;
  readonly copyBytes: number;
  /** Repetitions of kernels and copies, and of whole chunks. */
  readonly kernelRuns: number;
  readonly chunkRuns: number;
  readonly shapeRows: readonly number[];
  /** How long the device is kept busy for a reading of its clocks. */
  readonly busySeconds: number;
  /** The one arena of resident cases, and the arenas of the others; null: the product's. */
  readonly slotBytes: number;
  readonly productSlotBytes: number | null;
}

export interface Bench {
  readonly libraries: Libraries;
  readonly ordinal: number;
  readonly device: DeviceInfo;
  readonly cores: number;
  readonly scale: Scale;
  readonly ceilings: Ceilings;
}

export interface Ceilings {
  /** Bytes read and written per second by a copy on the device. */
  readonly deviceBytesPerSecond: number;
  readonly uploadBytesPerSecond: number;
}

export function showCase({ case: name, unit, rate, facts }: BenchCase): string {
  const scale = (value: number): string => (value / 1e9).toPrecision(4);
  const range = `[${scale(rate.min)}-${scale(rate.max)}]`;
  const more = Object.entries(facts).map(([key, value]) => `${key} ${value}`);
  return `${name.padEnd(72)} ${scale(rate.median).padStart(9)} G ${unit} ${range}  ${more.join(', ')}`;
}
