// Owns the bench's datasets: seeded points of a layer in random and in tile order, as Arrow files that
// the page cache holds because they were just written and read.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TileInput } from '../../native/index.ts';
import { randomOf, randomPoints, tileOrdered, type Points } from '../kernels/points.ts';
import type { Dataset, Order, Scale } from './bench-case.ts';
import type { Libraries } from './device.ts';
import { buildIndex, writeLayer, type LayerName } from './layers.ts';
import type { Place } from './place.ts';
import { writeArrowTiles } from './tiles.ts';

const LARGE_TILES_MAX = 64;

/** Writes both orders of a layer, one after the other; each is removed before the next is made. */
export async function* datasetsOf(
  place: Place,
  { cpu }: Libraries,
  name: LayerName,
  folder: string,
  scale: Scale,
): AsyncGenerator<Dataset> {
  const layer = writeLayer(place, name, folder);
  const index = await buildIndex(cpu, layer, 'half-open', 'first');
  const random = randomPoints(scale.rows, layer.box, 1);
  const generator = randomOf(3);
  const values = new Float64Array(scale.rows);
  for (let row = 0; row < scale.rows; row += 1) values[row] = generator() * 1000;
  const orders: readonly (readonly [Order, () => Points])[] = [
    ['random', () => random],
    ['tile order', () => tileOrdered(random, layer.box)],
  ];
  for (const [order, points] of orders) {
    const data = join(folder, 'data');
    mkdirSync(data);
    try {
      const made = points();
      const write = (file: string, rows: number, tileRows: number): Promise<readonly TileInput[]> =>
        writeArrowTiles(
          cpu,
          join(data, file),
          { x: made.x.subarray(0, rows), y: made.y.subarray(0, rows) },
          values.subarray(0, rows),
          tileRows,
        );
      const largeRows = Math.min(scale.rows, LARGE_TILES_MAX * scale.largeTileRows);
      yield {
        ...{ layer, layerName: name, order, indexPath: index.path, indexBytes: index.bytes },
        tiles: await write('tiles.arrow', scale.rows, scale.tileRows),
        large: await write('large.arrow', largeRows, scale.largeTileRows),
      };
    } finally {
      rmSync(data, { recursive: true, force: true });
    }
  }
}
