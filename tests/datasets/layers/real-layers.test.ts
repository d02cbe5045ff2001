// Real data: Natural Earth countries and US counties, as the atlas packages ship them.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { LayerLab, holds, temporaryFolder } from './support.ts';
import type { Geometry } from '../../../datasets/layers/index.ts';

const lab = new LayerLab(await temporaryFolder());
const require = createRequire(import.meta.url);

const places: readonly [string, number, number, string | null][] = [
  ['Moscow', 37.62, 55.75, 'Russia'],
  ['Chukotka', 175, 67, 'Russia'],
  ['Uelen', -169.9, 66.15, 'Russia'],
  ['Wrangel west', 179.5, 71.2, 'Russia'],
  ['Wrangel east', -179.2, 71.1, 'Russia'],
  ['Fairbanks', -147.7, 64.84, 'United States of America'],
  ['Yellowknife', -114.4, 62.6, 'Canada'],
  ['Suva inland', 178.3, -17.9, 'Fiji'],
  ['South Pole', 12, -89.9, 'Antarctica'],
  ['Byrd', -119.5, -80.02, 'Antarctica'],
  ['Vostok', 106.8, -78.46, 'Antarctica'],
  ['Drake Passage', -65, -59, null],
  ['Pacific', -150, 0, null],
];

function ownersOf(geometry: Geometry, x: number, y: number): string[] {
  return geometry.meta.ids.filter((_, feature) => holds(geometry, feature, x, y));
}

describe('world-atlas countries', () => {
  test.each(['10m', '50m'])('at %s are cut at ±180 and enclose the south pole', async (detail) => {
    const file = await readFile(require.resolve(`world-atlas/countries-${detail}.json`));
    const spec = { id: 'name', object: 'countries' } as const;
    const undeclared = detail === '10m' ? await lab.refusal(file, spec) : null;
    if (undeclared !== null) {
      expect(undeclared.findings).toMatchObject([
        { code: 'LAYER_POLE_UNDECLARED', feature: 'Antarctica' },
      ]);
    }
    const prepared = await lab.prepare(file, { ...spec, pole: { Antarctica: 'south' } });
    const split = prepared.warnings.filter(({ code }) => code === 'LAYER_ANTIMERIDIAN_SPLIT');
    expect(new Set(split.map(({ feature }) => feature))).toEqual(
      new Set(['Antarctica', 'Fiji', 'Russia']),
    );
    const geometry = await lab.geometry(file, { ...spec, pole: { Antarctica: 'south' } });
    for (const [place, x, y, owner] of places) {
      expect([place, ownersOf(geometry, x, y)]).toEqual([place, owner === null ? [] : [owner]]);
    }
  });

  test('with their own ids are refused: some have none, one has two', async () => {
    const file = await readFile(require.resolve('world-atlas/countries-10m.json'));
    const { details } = await lab.refusal(file, { id: '@id', object: 'countries' });
    expect(details).toMatchObject({ LAYER_ID_MISSING: 16, LAYER_ID_DUPLICATE: 1 });
  });
});

describe('us-atlas counties', () => {
  test('are a matched partition on both sides of the antimeridian', async () => {
    const file = await readFile(require.resolve('us-atlas/counties-10m.json'));
    const prepared = await lab.prepare(file, { id: '@id', object: 'counties' });
    expect(prepared).toMatchObject({ features: 3231, vertices: 68313 });
    const codes = new Set(prepared.warnings.map(({ code }) => code));
    expect(codes.has('LAYER_BORDER_UNMATCHED')).toBe(false);
    expect(codes.has('LAYER_ANTIMERIDIAN_SPLIT')).toBe(false);
    const geometry = await lab.geometry(file, { id: '@id', object: 'counties' });
    expect(ownersOf(geometry, -118.25, 34.05)).toEqual(['06037']);
    // Attu in the far west of the Aleutians, written with a positive longitude.
    expect(ownersOf(geometry, 173, 52.9)).toEqual(['02016']);
    expect(ownersOf(geometry, -168.3, 53.3)).toEqual(['02016']);
  });
});
