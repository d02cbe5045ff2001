import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, test } from 'vitest';
import {
  collection,
  feature,
  LayerLab,
  square,
  temporaryFolder,
  type Positions,
} from './support.ts';

const lab = new LayerLab(await temporaryFolder());

interface Shape {
  readonly id: string;
  readonly parts: readonly (readonly Positions[])[];
}

function wkbPolygon(rings: readonly Positions[], little: boolean, code = 3, extra = 0): Buffer {
  const pieces: Buffer[] = [
    Buffer.from([little ? 1 : 0]),
    u32(code, little),
    u32(rings.length, little),
  ];
  for (const ring of rings) {
    pieces.push(u32(ring.length, little));
    for (const [x = 0, y = 0] of ring) {
      pieces.push(
        f64(x, little),
        f64(y, little),
        ...Array.from({ length: extra }, () => f64(9, little)),
      );
    }
  }
  return Buffer.concat(pieces);
}

function u32(value: number, little: boolean): Buffer {
  const bytes = Buffer.alloc(4);
  return little ? (bytes.writeUInt32LE(value), bytes) : (bytes.writeUInt32BE(value), bytes);
}

function f64(value: number, little: boolean): Buffer {
  const bytes = Buffer.alloc(8);
  return little ? (bytes.writeDoubleLE(value), bytes) : (bytes.writeDoubleBE(value), bytes);
}

function wkbMulti({ parts }: Shape): Buffer {
  return Buffer.concat([
    Buffer.from([1]),
    u32(6, true),
    u32(parts.length, true),
    ...parts.map((rings, i) => wkbPolygon(rings, i % 2 === 0)),
  ]);
}

function parquet(
  rows: readonly { id: string; geometry: Buffer | null }[],
  column: object = {},
): Uint8Array {
  const geo = {
    version: '1.1.0',
    primary_column: 'geometry',
    columns: { geometry: { encoding: 'WKB', geometry_types: [], ...column } },
  };
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: 'id', data: rows.map(({ id }) => id), type: 'STRING' },
        { name: 'geometry', data: rows.map(({ geometry }) => geometry), type: 'BYTE_ARRAY' },
      ],
      kvMetadata: [{ key: 'geo', value: JSON.stringify(geo) }],
    }),
  );
}

const shapes: readonly Shape[] = [
  { id: 'a', parts: [[square(0, 0, 5), square(1, 1)], [square(10, 10)]] },
  { id: 'b', parts: [[square(20, 0)]] },
];
const geoJson = collection(
  ...shapes.map(({ id, parts }) => feature(id, { type: 'MultiPolygon', coordinates: parts })),
);
const plain = shapes.map((shape) => ({ id: shape.id, geometry: wkbMulti(shape) }));

describe('GeoParquet layers', () => {
  test('give the same geometry as GeoJSON', async () => {
    const fromParquet = await lab.prepare(parquet(plain));
    expect(fromParquet.sha256).toBe((await lab.prepare(geoJson)).sha256);
  });

  test('may have Z and M, as ISO or EWKB', async () => {
    const codes: [number, number][] = [
      [1003, 1],
      [2003, 1],
      [3003, 2],
      [0x80000003, 1],
      [0xc0000003, 2],
    ];
    const rows = codes.map(([code, extra], i) => ({
      id: `g${i}`,
      geometry: wkbPolygon([square(i * 3, 0)], i % 2 === 0, code, extra),
    }));
    expect(await lab.prepare(parquet(rows))).toMatchObject({
      features: 5,
      vertices: 25,
      bbox: [0, 0, 13, 1],
    });
  });

  test('are refused with spherical edges, other encodings, another CRS, no metadata', async () => {
    const spherical = await lab.refusal(parquet(plain, { edges: 'spherical' }));
    expect(spherical.code).toBe('LAYER_EDGES_SPHERICAL');
    const encoding = await lab.refusal(parquet(plain, { encoding: 'polygon' }));
    expect(encoding).toMatchObject({ code: 'LAYER_PARQUET_INVALID' });
    const crs = { id: { authority: 'EPSG', code: 5070 } };
    expect((await lab.refusal(parquet(plain, { crs }))).message).toMatch(/EPSG:5070.*OGC:CRS84/u);
    const bare = parquetWriteBuffer({ columnData: [{ name: 'id', data: ['a'], type: 'STRING' }] });
    expect((await lab.refusal(new Uint8Array(bare))).message).toContain('key "geo"');
  });

  test('are refused with broken WKB by row, with points by feature', async () => {
    const good = wkbPolygon([square(0, 0)], true);
    const lying = Buffer.from(good);
    lying.writeUInt32LE(0xffffffff, 9);
    for (const geometry of [
      good.subarray(0, 30),
      lying,
      Buffer.concat([good, good]),
      Buffer.alloc(0),
    ]) {
      const refusal = await lab.refusal(
        parquet([plain[0] ?? { id: '', geometry: null }, { id: 'x', geometry }]),
      );
      expect(refusal).toMatchObject({ code: 'LAYER_WKB_INVALID', details: { row: 1 } });
    }
    const point = Buffer.concat([Buffer.from([1]), u32(1, true), f64(1, true), f64(2, true)]);
    const { findings } = await lab.refusal(parquet([{ id: 'p', geometry: point }]));
    expect(findings).toMatchObject([{ code: 'LAYER_NOT_POLYGON', feature: 'p' }]);
  });

  test('are refused when the footer lies', async () => {
    const bytes = Buffer.from(parquet(plain));
    const length = bytes.readUInt32LE(bytes.length - 8);
    for (const lie of [0xffffffff, 0, length * 2, length - 1]) {
      const damaged = Buffer.from(bytes);
      damaged.writeUInt32LE(lie, damaged.length - 8);
      expect((await lab.refusal(damaged)).code).toBe('LAYER_PARQUET_INVALID');
    }
    expect((await lab.refusal(bytes.subarray(0, bytes.length / 2))).code).toBe(
      'LAYER_PARQUET_INVALID',
    );
  });
});
