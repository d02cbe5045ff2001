import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { expect, test } from 'vitest';
import { prepareLayer } from '../../../datasets/layers/index.ts';
import { layerSpec, temporaryFolder } from './support.ts';

const folder = await temporaryFolder();

test('prepareLayer streams two million vertices, one feature of them large, in bounded memory', async () => {
  const file = path.join(folder, 'large.geojson');
  const out = createWriteStream(file);
  out.write('{"type":"FeatureCollection","features":[');
  const sizes = [500_000, ...Array.from({ length: 150 }, () => 10_000)];
  for (const [i, size] of sizes.entries()) {
    const x = -170 + 340 * (i / sizes.length);
    const ring = Array.from({ length: size }, (_, k) => {
      const angle = (2 * Math.PI * (k % (size - 1))) / (size - 1);
      return `[${x + Math.cos(angle)},${(i % 16) * 8 - 64 + Math.sin(angle)}]`;
    });
    const feature = `{"type":"Feature","properties":{"id":${i}},"geometry":{"type":"Polygon","coordinates":[[${ring.join(',')}]]}}`;
    if (!out.write(`${i === 0 ? '' : ','}${feature}`)) await once(out, 'drain');
  }
  out.end(']}');
  await once(out, 'finish');
  const before = process.memoryUsage().rss;
  let peak = before;
  const prepared = await prepareLayer(
    layerSpec(),
    { path: file, cacheDir: path.join(folder, 'cache'), sourceCrs: 'OGC:CRS84' },
    () => {
      peak = Math.max(peak, process.memoryUsage().rss);
    },
  );
  expect(prepared).toMatchObject({ features: 151, vertices: 2_000_000 });
  // Vertices take 32 MB, their checks a few times as much; parsed as JSON they would take 300.
  expect(peak - before).toBeLessThan(400e6);
});
