// Owns boundary-heavy layers and points: vertices, midpoints, one ulp beside them, holes, touching and
// overlapping polygons, T-junctions, cell borders, extreme magnitudes.
import type { Position } from 'geojson';
import { verticesOf, type Area } from './geometry.ts';

export interface NastyLayer {
  readonly name: string;
  readonly areas: readonly Area[];
}

export type NastyPoint = readonly [number, number];

function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export function nextUp(value: number): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value + 0);
  const bits = view.getBigInt64(0);
  view.setBigInt64(0, value >= 0 ? bits + 1n : bits - 1n);
  return view.getFloat64(0);
}

export function nextDown(value: number): number {
  return -nextUp(-value);
}

function box(x0: number, y0: number, x1: number, y1: number): Position[] {
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
    [x0, y0],
  ];
}

function polygon(...rings: Position[][]): Area {
  return { type: 'Polygon', coordinates: rings };
}

/** A lattice of cells with a wobbling shared border, some holes and a T-junction on each. */
function partition(size: number, scale: number, offset: number, seed: number): Area[] {
  const random = randomOf(seed);
  const corners = Array.from({ length: size + 1 }, (_, row) =>
    Array.from({ length: size + 1 }, (_unused, column): Position => {
      const wobble = (): number => (random() - 0.5) * 0.6;
      return [offset + (column + wobble()) * scale, offset + (row + wobble()) * scale];
    }),
  );
  const areas: Area[] = [];
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const at = (r: number, c: number): Position => corners[row + r]?.[column + c] as Position;
      const ring = [at(0, 0), at(0, 1), at(1, 1), at(1, 0), at(0, 0)];
      areas.push(polygon(random() < 0.5 ? ring : ring.toReversed()));
    }
  }
  return areas;
}

/** Polygons on a small lattice: many exact touches, overlaps and collinear borders. */
function lattice(count: number, seed: number): Area[] {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => {
    const parts = Array.from({ length: 1 + Math.floor(random() * 2) }, () => {
      const ring = Array.from({ length: 3 + Math.floor(random() * 5) }, (): Position => [
        Math.floor(random() * 9),
        Math.floor(random() * 9),
      ]);
      return [[...ring, ring[0] as Position]];
    });
    return { type: 'MultiPolygon', coordinates: parts };
  });
}

function scaled(areas: readonly Area[], factor: number): Area[] {
  return areas.map((area) => {
    const parts = area.type === 'Polygon' ? [area.coordinates] : area.coordinates;
    return {
      type: 'MultiPolygon',
      coordinates: parts.map((rings) =>
        rings.map((ring) => ring.map((at) => at.map((value) => value * factor))),
      ),
    };
  });
}

export function nastyLayers(): NastyLayer[] {
  const holes = [
    polygon(box(0, 0, 10, 10), box(2, 2, 5, 5), box(5, 5, 8, 8)),
    polygon(box(2, 2, 5, 5)),
    polygon(box(3, 3, 4, 4), box(3, 3, 4, 4)),
  ];
  const tJunction = [
    polygon([
      [0, 0],
      [7, 1],
      [7, 5],
      [0, 5],
      [0, 0],
    ]),
    polygon([
      [0, 0],
      [3, -4],
      [3.5, 0.5],
      [0, 0],
    ]),
    polygon([
      [3.5, 0.5],
      [3, -4],
      [7, 1],
      [3.5, 0.5],
    ]),
  ];
  const degenerate: Area[] = [
    { type: 'MultiPolygon', coordinates: [] },
    polygon([
      [1, 1],
      [1, 1],
      [1, 1],
    ]),
    polygon([
      [0, 3],
      [9, 3],
      [4, 3],
      [0, 3],
    ]),
    polygon([
      [5, 0],
      [5, 9],
      [5, 4],
      [5, 0],
    ]),
    polygon([
      [0, 0],
      [4, 4],
      [8, 0],
      [4, 4],
      [0, 0],
    ]),
    polygon(box(6, 6, 9, 9)),
  ];
  return [
    { name: 'partition', areas: partition(7, 1, 0, 1) },
    { name: 'partition far from the origin', areas: partition(5, 1e-3, 5e5, 2) },
    { name: 'partition of dyadic size', areas: partition(4, 0.125, -0.25, 3) },
    { name: 'lattice', areas: lattice(9, 4) },
    { name: 'crowded lattice', areas: lattice(40, 5) },
    { name: 'holes', areas: holes },
    { name: 'T-junctions', areas: tJunction },
    { name: 'degenerate', areas: degenerate },
    {
      name: 'one point',
      areas: [
        polygon([
          [2, 2],
          [2, 2],
          [2, 2],
        ]),
      ],
    },
    { name: 'no parts', areas: [{ type: 'MultiPolygon', coordinates: [] }] },
    { name: 'empty', areas: [] },
    { name: 'magnitude 1e300', areas: scaled(lattice(6, 6), 1e300) },
    { name: 'magnitude 1e-300', areas: scaled(partition(3, 1, 1, 7), 1e-300) },
    { name: 'magnitude 1e-310', areas: scaled(lattice(5, 8), 1e-310) },
    { name: 'magnitude 1e20', areas: scaled(partition(4, 1, 0, 9), 1e20) },
    { name: 'mixed magnitudes', areas: [...lattice(3, 10), ...scaled(lattice(2, 11), 2 ** -40)] },
  ];
}

/** Points on, beside and between vertices and edges of a layer, on cell borders, and odd ones. */
export function nastyPoints(areas: readonly Area[], seed: number, count: number): NastyPoint[] {
  const random = randomOf(seed);
  const vertices = verticesOf(areas);
  const points: NastyPoint[] = [
    ...([Number.NaN, Infinity, -Infinity] as const).flatMap((bad): NastyPoint[] => [
      [bad, 0],
      [0, bad],
    ]),
    [-0, -0],
    [0, 5e-324],
    [1.7976931348623157e308, -1.7976931348623157e308],
  ];
  if (vertices.length < 2) {
    return [...points, [1, 1]];
  }
  const pick = (): Position => vertices[Math.floor(random() * vertices.length)] as Position;
  const xs = vertices.map((at) => at[0] as number);
  const ys = vertices.map((at) => at[1] as number);
  const [minX, maxX] = [Math.min(...xs), Math.max(...xs)];
  const [minY, maxY] = [Math.min(...ys), Math.max(...ys)];
  const nudge = (value: number): number => {
    const roll = random();
    return roll < 0.4 ? value : roll < 0.7 ? nextUp(value) : nextDown(value);
  };
  while (points.length < count) {
    const index = Math.floor(random() * (vertices.length - 1));
    const [a, b] = [vertices[index] as Position, vertices[index + 1] as Position];
    const t = [0, 0.5, 0.25, random()][Math.floor(random() * 4)] as number;
    const between = (from: number, to: number): number => from + t * (to - from);
    const onEdge: NastyPoint = [
      between(a[0] as number, b[0] as number),
      between(a[1] as number, b[1] as number),
    ];
    const step = Math.floor(random() * 65) / 64;
    const onCell: NastyPoint = [minX + (maxX - minX) * step, minY + (maxY - minY) * random()];
    const crossed: NastyPoint = [pick()[0] as number, pick()[1] as number];
    const free: NastyPoint = [
      minX + (maxX - minX) * (random() * 1.2 - 0.1),
      minY + (maxY - minY) * (random() * 1.2 - 0.1),
    ];
    const kinds = [onEdge, [nudge(onEdge[0]), nudge(onEdge[1])], onCell, crossed, free] as const;
    points.push(kinds[points.length % kinds.length] as NastyPoint);
  }
  return points;
}
