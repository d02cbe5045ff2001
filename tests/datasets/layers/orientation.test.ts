import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { areaSign, meetingOf, orientation } from '../../../datasets/layers/orientation.ts';
import { locateInRing } from '../../../datasets/layers/ring-location.ts';

/** A finite double in units of 2^-1074, from its bits. */
function exact(value: number): bigint {
  const bits = new BigUint64Array(Float64Array.of(Math.abs(value)).buffer)[0] ?? 0n;
  const exponent = bits >> 52n;
  const fraction = bits % (1n << 52n);
  const units = exponent === 0n ? fraction : (fraction + (1n << 52n)) * 2n ** (exponent - 1n);
  return value < 0 ? -units : units;
}

function sign(value: bigint): number {
  return value === 0n ? 0 : value > 0n ? 1 : -1;
}

const lattice = fc.integer({ min: -8, max: 8 });
const point = fc.tuple(lattice, lattice);

describe('orientation', () => {
  test('has the sign of the conformance corpus', async () => {
    const corpus = new URL('../../fixtures/corpus/orientation.jsonl', import.meta.url);
    const lines = (await readFile(corpus, 'utf8')).trim().split('\n');
    const wrong = lines.filter((line) => {
      const {
        a,
        b,
        p,
        sign: expected,
      } = JSON.parse(line) as Record<'a' | 'b' | 'p', Point> & {
        sign: number;
      };
      return orientation(...a, ...b, ...p) !== expected;
    });
    expect(lines.length).toBeGreaterThan(10_000);
    expect(wrong).toEqual([]);
  });

  test('is exact next to a line', () => {
    const near = fc.tuple(
      fc.double({ min: -180, max: 180, noNaN: true }),
      fc.double({ min: -90, max: 90, noNaN: true }),
      fc.double({ min: -180, max: 180, noNaN: true }),
      fc.double({ min: -90, max: 90, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    );
    fc.assert(
      fc.property(near, ([ax, ay, bx, by, t]) => {
        const px = ax + (bx - ax) * t;
        const py = ay + (by - ay) * t;
        const expected = sign(
          (exact(bx) - exact(ax)) * (exact(py) - exact(ay)) -
            (exact(by) - exact(ay)) * (exact(px) - exact(ax)),
        );
        expect(orientation(ax, ay, bx, by, px, py)).toBe(expected);
        expect(orientation(bx, by, ax, ay, px, py)).toBe(expected === 0 ? 0 : -expected);
      }),
      { numRuns: 2000 },
    );
  });

  test('is exact where products underflow or overflow', () => {
    expect(orientation(0, 0, 5e-324, 5e-324, 1e-323, 5e-324)).toBe(-1);
    expect(orientation(0, 0, 5e-324, 5e-324, 1e-323, 1e-323)).toBe(0);
    expect(orientation(-1e308, -1e308, 1e308, 1e308, 1e308, 1.0000000000000002e308)).toBe(1);
    expect(orientation(-1e308, -1e308, 1e308, 1e308, 0, 0)).toBe(0);
  });
});

describe('meetingOf', () => {
  test('agrees with a rational intersection on a lattice', () => {
    fc.assert(
      fc.property(point, point, point, point, (a, b, c, d) => {
        fc.pre((a[0] !== b[0] || a[1] !== b[1]) && (c[0] !== d[0] || c[1] !== d[1]));
        const meeting = meetingOf(...a, ...b, ...c, ...d);
        expect(meeting).toBe(meetingOf(...d, ...c, ...b, ...a));
        expect(meeting).toBe(slowMeeting(a, b, c, d));
      }),
      { numRuns: 4000 },
    );
  });
});

type Point = readonly [number, number];

/** Solves for the parameters of both segments in integers. */
function slowMeeting(a: Point, b: Point, c: Point, d: Point): string {
  const [rx, ry, sx, sy] = [b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]];
  const cross = rx * sy - ry * sx;
  const [qx, qy] = [c[0] - a[0], c[1] - a[1]];
  if (cross === 0) {
    if (qx * ry - qy * rx !== 0) return 'none';
    const dot = (p: Point): number => (p[0] - a[0]) * rx + (p[1] - a[1]) * ry;
    const low = Math.max(0, Math.min(dot(c), dot(d)));
    const high = Math.min(rx * rx + ry * ry, Math.max(dot(c), dot(d)));
    if (low > high) return 'none';
    return low === high ? 'touch' : 'overlap';
  }
  const t = (qx * sy - qy * sx) * Math.sign(cross);
  const u = (qx * ry - qy * rx) * Math.sign(cross);
  const whole = Math.abs(cross);
  if (t < 0 || u < 0 || t > whole || u > whole) return 'none';
  const ends = Number(t === 0 || t === whole) + Number(u === 0 || u === whole);
  return ends === 2 ? 'touch' : ends === 1 ? 'tee' : 'cross';
}

describe('areaSign', () => {
  test('finds zero area exactly', () => {
    const ring = (points: readonly Point[]): number =>
      areaSign(
        Float64Array.from(points, ([x]) => x),
        Float64Array.from(points, ([, y]) => y),
        0,
        points.length,
      );
    expect(
      ring([
        [0.1, 0.1],
        [0.3, 0.3],
        [0.7, 0.7],
        [0.1, 0.1],
      ]),
    ).toBe(0);
    expect(
      ring([
        [0, 0],
        [1, 0],
        [0, 1],
        [0, 0],
      ]),
    ).toBe(1);
    expect(
      ring([
        [0, 0],
        [0, 1],
        [1, 0],
        [0, 0],
      ]),
    ).toBe(-1);
    expect(
      ring([
        [1e300, 1e300],
        [1.1e300, 1e300],
        [1e300, 1.1e300],
        [1e300, 1e300],
      ]),
    ).toBe(1);
    expect(
      ring([
        [0, 0],
        [5e-324, 0],
        [0, 5e-324],
        [0, 0],
      ]),
    ).toBe(1);
  });
});

describe('locateInRing', () => {
  test('tells inside, border and outside of a lattice polygon', () => {
    const x = Float64Array.of(0, 4, 4, 2, 0, 0);
    const y = Float64Array.of(0, 0, 4, 2, 4, 0);
    const at = (px: number, py: number): number => locateInRing(x, y, 0, 6, px, py);
    expect([at(1, 1), at(2, 2), at(2, 3), at(3, 3), at(4, 1), at(5, 1)]).toEqual([
      1, 0, -1, 0, 0, -1,
    ]);
  });
});
