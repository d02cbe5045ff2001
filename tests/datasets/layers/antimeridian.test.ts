import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  collection,
  feature,
  holds,
  LayerLab,
  polygonFeature,
  temporaryFolder,
} from './support.ts';
import type { Positions } from './support.ts';
import type { Geometry } from '../../../datasets/layers/index.ts';

const lab = new LayerLab(await temporaryFolder());

function wrapped(x: number): number {
  return x > 180 ? x - 360 : x;
}

/** Even-odd of a ring in the unwrapped plane, plain floating point. */
function inUnwrapped(rings: readonly Positions[], px: number, py: number): boolean {
  let inside = false;
  for (const ring of rings) {
    for (let i = 0; i + 1 < ring.length; i += 1) {
      const [ax = 0, ay = 0] = ring[i] ?? [];
      const [bx = 0, by = 0] = ring[i + 1] ?? [];
      if (ay > py === by > py) continue;
      if (px < ax + ((py - ay) / (by - ay)) * (bx - ax)) inside = !inside;
    }
  }
  return inside;
}

/** A star-shaped ring around (x, y) with the given radii. */
function star(x: number, y: number, radii: readonly number[]): Positions {
  const points = radii.map((radius, i) => {
    const angle = (2 * Math.PI * i) / radii.length;
    const round = (value: number): number => Math.round(value * 8) / 8;
    return [round(x + radius * Math.cos(angle)), round(y + radius * Math.sin(angle))];
  });
  return [...points, points[0] ?? []];
}

function positions(geometry: Geometry): string[] {
  return Array.from(geometry.x, (x, i) => `${x} ${geometry.y[i]}`);
}

describe('antimeridian: split', () => {
  test('keeps every point of star polygons with holes, whichever convention the file uses', async () => {
    const radii = fc.array(fc.integer({ min: 4, max: 30 }), { minLength: 3, maxLength: 14 });
    const scene = fc.tuple(fc.integer({ min: 165, max: 195 }), radii, fc.boolean(), fc.boolean());
    await fc.assert(
      fc.asyncProperty(scene, async ([x, outer, withHole, over180]) => {
        const hole = star(
          x,
          0,
          outer.map((radius) => radius / 3),
        );
        const rings = withHole ? [star(x, 0, outer), hole] : [star(x, 0, outer)];
        const written = over180
          ? rings
          : rings.map((ring) => ring.map(([lon = 0, lat = 0]) => [wrapped(lon), lat]));
        const geometry = await lab.geometry(collection(polygonFeature('a', written)));
        for (let px = 130.03; px < 230; px += 3.7) {
          for (let py = -30.01; py < 31; py += 3.3) {
            const expected = inUnwrapped(rings, px, py);
            expect([px, py, holds(geometry, 0, wrapped(px), py)]).toEqual([px, py, expected]);
          }
        }
        expect(geometry.meta.bbox[0]).toBeGreaterThanOrEqual(-180);
        expect(geometry.meta.bbox[2]).toBeLessThanOrEqual(180);
      }),
      { numRuns: 40 },
    );
  });

  test('cuts at the exact latitude, rounded once, the same for both neighbours', async () => {
    const shared = [
      [179.3, 10.1],
      [-179.9, 20.7],
    ];
    const north = [...shared, [-179.9, 30], [179.3, 30], [179.3, 10.1]];
    const south = [...shared.toReversed(), [179.3, 0], [-179.9, 0], [-179.9, 20.7]];
    const fixed = [south[0], south[3], south[2], south[1], south[0]] as Positions;
    const geometry = await lab.geometry(
      collection(polygonFeature('n', [north]), polygonFeature('s', [fixed.toReversed()])),
    );
    // (180 − 179.3) / (180.1 − 179.3) of the way, computed with the exact values of the doubles.
    const fraction = (value: number): bigint => BigInt(value * 2 ** 60);
    const run = fraction(360) + fraction(-179.9) - fraction(179.3);
    const numerator =
      fraction(10.1) * run + (fraction(20.7) - fraction(10.1)) * (fraction(180) - fraction(179.3));
    const high = (numerator << 70n) / run;
    const expected = Number(high) / 2 ** 130;
    const cuts = positions(geometry).filter((text) => /^-?180 1/u.test(text));
    expect(new Set(cuts.map((text) => text.split(' ')[1]))).toEqual(new Set([String(expected)]));
    expect(cuts.length).toBeGreaterThanOrEqual(4);
    for (const original of ['179.3 10.1', '-179.9 20.7', '179.3 30', '-179.9 30']) {
      expect(positions(geometry)).toContain(original);
    }
  });

  test('accepts vertices on ±180 in either spelling and drops pieces without area', async () => {
    const touching = [
      [170, 0],
      [180, 0],
      [-180, 5],
      [170, 5],
      [170, 0],
    ];
    const geometry = await lab.geometry(collection(polygonFeature('a', [touching])));
    expect(geometry.partRings.length - 1).toBe(1);
    expect(geometry.meta.bbox).toEqual([170, 0, 180, 5]);
    const inserted = [
      [170, 0],
      [180, 0],
      [-180, 0],
      [-170, 0],
      [-170, 5],
      [-180, 5],
      [180, 5],
      [170, 5],
      [170, 0],
    ];
    const cut = await lab.geometry(collection(polygonFeature('a', [inserted])));
    expect([holds(cut, 0, 175, 2), holds(cut, 0, -175, 2), holds(cut, 0, 0, 2)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('assigns holes to the piece they lie in and cuts holes that cross', async () => {
    const shell = [
      [170, -10],
      [-170, -10],
      [-170, 10],
      [170, 10],
      [170, -10],
    ];
    const west = [
      [172, -2],
      [172, 2],
      [176, 2],
      [176, -2],
      [172, -2],
    ];
    const east = west.map(([x = 0, y = 0]) => [x - 348, y]);
    const across = [
      [179, 5],
      [179, 8],
      [-179, 8],
      [-179, 5],
      [179, 5],
    ];
    const prepared = await lab.prepare(
      collection(polygonFeature('a', [shell, west, east, across])),
    );
    expect(prepared).toMatchObject({ parts: 2, rings: 4 });
    expect(prepared.warnings.map(({ code }) => code)).toEqual(['LAYER_ANTIMERIDIAN_SPLIT']);
    const geometry = await lab.geometry(
      collection(polygonFeature('a', [shell, west, east, across])),
    );
    const inside = [
      [171, 0],
      [174, 0],
      [178, 0],
      [-174, 0],
      [-178, 0],
      [179.5, 6],
      [-179.5, 6],
      [179.5, 9],
    ];
    expect(inside.map(([x = 0, y = 0]) => holds(geometry, 0, x, y))).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  test('leaves frames of the plane and edges along a pole as they are', async () => {
    const world = [
      [-180, -60],
      [180, -60],
      [180, 60],
      [-180, 60],
      [-180, -60],
    ];
    const antarctica = [
      [-180, -90],
      [180, -90],
      [180, -70],
      [60, -65],
      [-60, -65],
      [-180, -70],
      [-180, -90],
    ];
    const prepared = await lab.prepare(
      collection(polygonFeature('frame', [world]), polygonFeature('cap', [antarctica])),
    );
    expect(prepared.vertices).toBe(12);
    expect(prepared.warnings.map(({ code, feature: id }) => [code, id])).toContainEqual([
      'LAYER_RING_SPANS_WORLD',
      'frame',
    ]);
  });
});

describe('antimeridian: reject', () => {
  test('names the features that cross', async () => {
    const crossing = [
      [179, 0],
      [-179, 0],
      [-179, 1],
      [179, 1],
      [179, 0],
    ];
    const beyond = [
      [179, 5],
      [181, 5],
      [181, 6],
      [179, 6],
      [179, 5],
    ];
    const wide = [
      [-170, 10],
      [0, 10],
      [170, 10],
      [0, 11],
      [-170, 10],
    ];
    const refusal = await lab.refusal(
      collection(
        polygonFeature('crossing', [crossing]),
        polygonFeature('beyond', [beyond]),
        polygonFeature('wide', [wide]),
      ),
      { antimeridian: 'reject' },
    );
    expect(refusal.findings.map(({ code, feature: id }) => [code, id])).toEqual([
      ['LAYER_ANTIMERIDIAN', 'crossing'],
      ['LAYER_ANTIMERIDIAN', 'beyond'],
      ['LAYER_ANTIMERIDIAN', 'wide'],
    ]);
  });

  test('is of no concern in a projected CRS', async () => {
    const far = [
      [0, 0],
      [5e6, 0],
      [5e6, 5e6],
      [0, 0],
    ];
    const spec = { antimeridian: 'reject', crs: 'EPSG:3857' } as const;
    expect(await lab.prepare(collection(polygonFeature('a', [far])), spec)).toMatchObject({
      vertices: 4,
    });
  });
});

describe('pole-enclosing rings', () => {
  const ring = [
    [0, 70],
    [90, 72],
    [180, 71],
    [-90, 69],
    [0, 70],
  ];

  test('are refused unless the pole is declared', async () => {
    const text = collection(polygonFeature('cap', [ring]));
    const refusal = await lab.refusal(text);
    expect(refusal.findings).toMatchObject([{ code: 'LAYER_POLE_UNDECLARED', feature: 'cap' }]);
    expect(refusal.message).toContain('pole: { "cap": north }');
    expect((await lab.refusal(text, { pole: { other: 'north' } })).code).toBe('LAYER_INVALID');
  });

  test('hold the declared pole and not the other', async () => {
    for (const pole of ['north', 'south'] as const) {
      for (const way of [ring, ring.toReversed()]) {
        const geometry = await lab.geometry(collection(polygonFeature('cap', [way])), {
          pole: { cap: pole },
        });
        const north = [-179, -45, 10, 100, 179].map((x) => holds(geometry, 0, x, 89));
        const south = [-179, -45, 10, 100, 179].map((x) => holds(geometry, 0, x, -89));
        expect(north).toEqual(Array(5).fill(pole === 'north'));
        expect(south).toEqual(Array(5).fill(pole === 'south'));
      }
    }
  });

  test('of a shell and a hole around the same pole make a band', async () => {
    const inner = ring.map(([x = 0, y = 0]) => [x, y + 10]);
    const geometry = await lab.geometry(
      collection(feature('band', { type: 'Polygon', coordinates: [ring, inner] })),
    );
    expect([60, 75, 85].map((y) => holds(geometry, 0, 30, y))).toEqual([false, true, false]);
  });
});
