// Measures rows/s of one core: each assign variant on counties and on world countries 10m with points
// in random and in tile order, then fused batches from files (read, verify, assign, aggregate).
// Every case is checked against another variant before it is timed. Run it with
// `node bench/run.mjs kernels [--quick]`; without --quick it writes a record.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openKernels, type AssignOptions, type Layer } from '../../native/index.ts';
import {
  counties,
  countries,
  writeGeometry,
  type Area,
} from '../../tests/native/helpers/geometry.ts';
import { REGISTRY, variantsOf } from '../../registry/index.ts';
import { writeRecord } from '../record.ts';
import { measureBatches } from './batches.ts';
import { measure, type Rate } from './measure.ts';
import {
  CONTIGUOUS_US,
  randomPoints,
  tileOrdered,
  WORLD,
  type Box,
  type Points,
} from './points.ts';

const quick = process.argv.includes('--quick');
const ROWS = quick ? 1_000_000 : 10_000_000;
const RUNS = quick ? 3 : 7;
const BRUTE_ROWS = 20_000;
const library = openKernels();
const rates: Rate[] = [];

async function assignCases(name: string, layer: Layer, box: Box): Promise<void> {
  const random = randomPoints(ROWS, box, 1);
  const orders: [string, Points][] = [
    ['random', random],
    ['tile order', tileOrdered(random, box)],
  ];
  const variants = variantsOf(REGISTRY, 'assign').filter(
    (variant) => variant.library === 'cpu' && variant.isa.every((isa) => library.isa.includes(isa)),
  );
  for (const [order, points] of orders) {
    let expected: Int32Array | null = null;
    for (const variant of variants) {
      const rows = variant.needsIndex ? ROWS : BRUTE_ROWS;
      const x = points.x.subarray(0, rows);
      const y = points.y.subarray(0, rows);
      const options: AssignOptions = {
        ...{ layer, symbol: variant.symbol, boundary: 'half-open', overlap: 'first', wrap: false },
      };
      const out = new Int32Array(rows);
      await library.assignPoints(options, x, y, out);
      expected ??= out.slice();
      checkEqual(out, expected.subarray(0, rows), `${variant.id} on ${name}`);
      rates.push(
        await measure(`${variant.id}, ${name}, ${order}`, rows, RUNS, async () => {
          await library.assignPoints(options, x, y, out);
        }),
      );
    }
  }
}

function checkEqual(got: Int32Array, expected: Int32Array, what: string): void {
  for (let index = 0; index < expected.length; index += 1) {
    if (got[index] !== expected[index]) {
      throw new Error(`${what}: point ${index} is ${got[index]}, expected ${expected[index]}`);
    }
  }
}

async function openIndexed(folder: string, name: string, areas: readonly Area[]): Promise<Layer> {
  const geometryPath = join(folder, `${name}.tlgeom`);
  const indexPath = join(folder, `${name}.tlidx`);
  writeGeometry(geometryPath, areas);
  const started = Date.now();
  const info = await library.buildIndex({
    ...{ geometryPath, indexPath, boundary: 'half-open', overlap: 'first' },
  });
  const seconds = (Date.now() - started) / 1000;
  process.stdout.write(
    `${name}: ${info.columns} x ${info.rows} cells, ${info.records} records, ` +
      `${(info.bytes / 2 ** 20).toFixed(1)} MiB, built in ${seconds.toFixed(2)} s\n`,
  );
  return library.openLayer({ geometryPath, indexPath });
}

const folder = mkdtempSync(join(tmpdir(), 'tileloom-bench-'));
try {
  const us = await openIndexed(folder, 'counties', counties());
  await assignCases('counties', us, CONTIGUOUS_US);
  rates.push(...(await measureBatches(library, us, CONTIGUOUS_US, folder, RUNS, ROWS)));
  const world = await openIndexed(folder, 'countries', countries());
  await assignCases('world 10m', world, WORLD);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (!quick) {
  const facts = { image: library.image, isa: library.isa, unit: 'M rows/s/core', rates };
  process.stdout.write(`${writeRecord('kernels', facts)}\n`);
}
