import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readGeometry } from '../../../datasets/layers/index.ts';
import { compactNumber, quantileClasses } from '../../../datasets/result/color-classes.ts';
import { writeChoropleth } from '../../../datasets/result/index.ts';
import {
  collection,
  LayerLab,
  polygonFeature,
  square,
  temporaryFolder,
} from '../layers/support.ts';

const folder = await temporaryFolder();
const lab = new LayerLab(folder);
const require = createRequire(import.meta.url);

describe('writeChoropleth', () => {
  test('draws US counties in less than 3 MB, the same bytes twice', async () => {
    const file = await readFile(require.resolve('us-atlas/counties-10m.json'));
    const { geometryPath, features } = await lab.prepare(file, { id: '@id', object: 'counties' });
    const values = Float64Array.from({ length: features }, (_, i) =>
      i % 7 === 0 ? Number.NaN : i * i,
    );
    const request = { geometryPath, values, title: 'A & <b>', path: path.join(folder, 'us.svg') };
    const first = await writeChoropleth(request);
    expect(first.bytes).toBeLessThan(3_000_000);
    expect(await writeChoropleth(request)).toEqual(first);
    const svg = await readFile(request.path, 'utf8');
    // Booleans, so that a failure does not print the picture.
    expect(svg.includes('A &amp; &lt;b&gt;')).toBe(true);
    expect(svg.includes('Alaska, Hawaii and Puerto Rico inset')).toBe(true);
    expect(/<title>Los Angeles: (?:\d+|no value)<\/title>/u.test(svg)).toBe(true);
    expect(/NaN|Infinity|undefined|href/u.test(svg)).toBe(false);
  });

  test('draws one square, no values, and names that are markup', async () => {
    const text = collection(polygonFeature('<script>\u0000', [square(0, 0)]));
    const { geometryPath } = await lab.prepare(text);
    const file = path.join(folder, 'one.svg');
    await writeChoropleth({
      geometryPath,
      values: Float64Array.of(Number.NaN),
      title: 't',
      path: file,
    });
    const svg = await readFile(file, 'utf8');
    expect(svg).toContain('&lt;script&gt;\ufffd: no value');
    expect(svg).not.toContain('<script>');
    expect((await readGeometry(geometryPath)).meta.ids).toEqual(['<script>\u0000']);
  });

  test('refuses another number of values', async () => {
    const { geometryPath } = await lab.prepare(collection(polygonFeature('a', [square(0, 0)])));
    const drawn = writeChoropleth({
      geometryPath,
      values: new Float64Array(2),
      title: '',
      path: path.join(folder, 'x'),
    });
    await expect(drawn).rejects.toMatchObject({ code: 'RESULT_VALUES_LENGTH' });
  });
});

describe('quantileClasses', () => {
  test('gives each value the class whose label spans it', () => {
    const { classes, classOf } = quantileClasses(Float64Array.from({ length: 700 }, (_, i) => i));
    expect(classes).toHaveLength(7);
    expect([0, 99, 100, 699, Number.NaN].map(classOf)).toEqual([0, 0, 1, 6, -1]);
    expect(classes[0]?.label).toBe('0 – 100');
    expect(quantileClasses(Float64Array.of(5, 5, 5)).classes.map(({ label }) => label)).toEqual([
      '5',
    ]);
    expect(quantileClasses(Float64Array.of(Number.NaN)).classes).toEqual([]);
  });

  test('shortens numbers', () => {
    const shown = [0, 999, 999.6, 1234, 3_400_000, -12.345, 2e16, 0.0001].map(compactNumber);
    expect(shown).toEqual([
      '0',
      '999',
      '1 k',
      '1.23 k',
      '3.4 M',
      '\u221212.3',
      '2.0e+16',
      '1.0e-4',
    ]);
  });
});
