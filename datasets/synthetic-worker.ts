// Owns the thread side of making synthetic tiles: answers each tile number with its values and
// facts.
import { parentPort, workerData } from 'node:worker_threads';
import type { SyntheticModel } from './synthetic-model.ts';
import { SYNTHETIC_TYPES, createTileMaker } from './synthetic-tile.ts';
import { tileStatistics, type Tile, type TileStatistics } from './tile-values.ts';

export interface MadeTile {
  readonly number: number;
  readonly tile: Tile;
  readonly statistics: TileStatistics;
}

if (parentPort !== null) {
  const port = parentPort;
  const make = createTileMaker(workerData as SyntheticModel);
  port.on('message', (number: number) => {
    const tile = make(number);
    const statistics = tileStatistics(tile, SYNTHETIC_TYPES, [0, 1]);
    const made: MadeTile = { number, tile, statistics };
    port.postMessage(made, [
      ...new Set(tile.columns.map(({ values }) => values.buffer as ArrayBuffer)),
    ]);
  });
}
