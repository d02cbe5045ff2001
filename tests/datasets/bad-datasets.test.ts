// Datasets that were damaged, truncated or written by others: a code, the file's name, no crash.
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  Dictionary,
  Float64,
  Int32,
  Table,
  Utf8,
  tableFromArrays,
  tableToIPC,
  vectorFromArray,
  type Vector,
} from 'apache-arrow';
import {
  BodyCompression,
  BufferRegion,
  FieldNode,
  Message,
  RecordBatch,
} from 'apache-arrow/ipc/metadata/message';
import { describe, expect, test } from 'vitest';
import {
  createTileSource,
  inspectDataset,
  openDataset,
  type TileSource,
} from '../../datasets/index.ts';
import { ArrowFile } from '../../datasets/arrow-file.ts';
import { expectCode, temporaryFolder, writePoints } from './support.ts';

const folder = temporaryFolder();
const good = path.join(folder, 'good');
await writePoints(good, [40, 40]);
let serial = 0;

function damaged(change: (copy: string) => void): string {
  const copy = path.join(folder, `damaged-${(serial += 1)}`);
  cpSync(good, copy, { recursive: true });
  change(copy);
  return copy;
}

function edit(copy: string, change: (manifest: Record<string, unknown>) => void): void {
  const file = path.join(copy, 'dataset.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  change(manifest);
  writeFileSync(file, JSON.stringify(manifest));
}

describe('openDataset', () => {
  test('names what is not there', async () => {
    await expectCode(() => openDataset(path.join(folder, 'nowhere')), 'DATASET_NOT_FOUND', [
      'nowhere',
    ]);
    await expectCode(() => openDataset(folder), 'DATASET_NOT_FOUND', [folder]);
    const noData = damaged((copy) => rmSync(path.join(copy, 'data-00000.arrow')));
    await expectCode(() => openDataset(noData), 'DATASET_FILE_MISSING', ['data-00000.arrow']);
    const noTable = damaged((copy) => rmSync(path.join(copy, 'tiles.arrow')));
    await expectCode(() => openDataset(noTable), 'DATASET_FILE_MISSING', ['tiles.arrow']);
  });

  test('names the field of dataset.json that is wrong', async () => {
    const cases: [string, (manifest: Record<string, unknown>) => void][] = [
      ['schema', (manifest) => (manifest['schema'] = 'tileloom.dataset/9')],
      ['tiles', (manifest) => (manifest['tiles'] = -1)],
      ['surprise', (manifest) => (manifest['surprise'] = 1)],
      ['files.0.name', (manifest) => (manifest['files'] = [{ name: '../x', bytes: 1, tiles: 1 }])],
      ['3 tiles', (manifest) => (manifest['tiles'] = 3)],
      ['nope', (manifest) => (manifest['coordinates'] = { x: 'nope', y: 'lat' })],
      ['81 rows', (manifest) => (manifest['rows'] = 81)],
    ];
    for (const [mention, change] of cases) {
      const copy = damaged((at) => edit(at, change));
      await expectCode(() => openDataset(copy), 'DATASET_INVALID', ['dataset.json', mention]);
    }
    const text = damaged((copy) => writeFileSync(path.join(copy, 'dataset.json'), '{"schema": '));
    await expectCode(() => openDataset(text), 'DATASET_INVALID', ['dataset.json']);
    const empty = damaged((copy) => writeFileSync(path.join(copy, 'dataset.json'), ''));
    await expectCode(() => openDataset(empty), 'DATASET_INVALID');
    const binary = damaged((copy) =>
      writeFileSync(path.join(copy, 'dataset.json'), '\xff\xfe', 'latin1'),
    );
    await expectCode(() => openDataset(binary), 'DATASET_INVALID');
  });

  test('notices a changed tile table and changed sizes', async () => {
    const table = damaged((copy) => flip(path.join(copy, 'tiles.arrow'), 700));
    await expectCode(() => openDataset(table), 'TILE_TABLE_CORRUPT', ['tiles.arrow', 'SHA-256']);
    const short = damaged((copy) => truncateSync(path.join(copy, 'data-00000.arrow'), 1000));
    await expectCode(() => openDataset(short), 'DATASET_FILE_SIZE', ['data-00000.arrow', '1000']);
  });
});

describe('inspectDataset', () => {
  test('finds a value that was changed, and which', async () => {
    const dataset = await openDataset(good);
    const source = dataset.tileSource({ measures: ['value'] });
    const at = source.resolve(1).measures[0]?.dataOffset ?? 0;
    source.close();
    const copy = damaged((to) => flip(path.join(to, 'data-00000.arrow'), at + 9));
    const { verified } = await inspectDataset(copy, { verify: true });
    expect(verified?.problemCount).toBe(1);
    expect(verified?.problems[0]).toMatchObject({ tile: 1, column: 'value', code: 'TILE_CORRUPT' });
    expect((await inspectDataset(good, { verify: true })).verified?.problemCount).toBe(0);
    expect((await inspectDataset(good)).verified).toBeNull();
  });
});

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

describe('ArrowFile', () => {
  const file = (name: string, bytes: Uint8Array): string => {
    const target = path.join(folder, name);
    writeFileSync(target, bytes);
    return target;
  };
  const original = readFileSync(path.join(good, 'data-00000.arrow'));

  test('survives truncation at every byte with a code', async () => {
    const codes = new Set<string>();
    const target = path.join(folder, 'truncated.arrow');
    for (let length = 0; length < original.length; length += length < 2000 ? 1 : 37) {
      writeFileSync(target, original.subarray(0, length));
      try {
        ArrowFile.open(target).close();
        throw new Error(`${length} bytes were accepted`);
      } catch (error) {
        codes.add((error as { code?: string }).code ?? String(error));
      }
    }
    expect([...codes].sort()).toEqual(['ARROW_NOT_ARROW', 'ARROW_TRUNCATED']);
    writeFileSync(target, '');
    await expectCode(() => ArrowFile.open(target), 'ARROW_TRUNCATED', ['truncated.arrow', 'empty']);
  });

  test('survives any single changed byte of footer and metadata', () => {
    const target = path.join(folder, 'flipped.arrow');
    const footer = original.length - 10 - original.readInt32LE(original.length - 10);
    for (let at = footer; at < original.length; at += 1) {
      for (const bit of [1, 0x80]) {
        const bytes = Buffer.from(original);
        bytes[at] = (bytes[at] ?? 0) ^ bit;
        writeFileSync(target, bytes);
        try {
          const opened = ArrowFile.open(target);
          for (let batch = 0; batch < opened.batches; batch += 1) {
            for (const { offset, length } of opened.layout(batch).buffers) {
              expect(offset + length).toBeLessThanOrEqual(original.length);
            }
          }
          opened.close();
        } catch (error) {
          expect((error as { code?: string }).code, String((error as Error).stack)).toMatch(
            /^ARROW_/u,
          );
        }
      }
    }
  });

  test('refuses what is no Arrow file', async () => {
    const text = file('text.arrow', Buffer.from('lon,lat\n1,2\n'));
    await expectCode(() => ArrowFile.open(text), 'ARROW_NOT_ARROW', ['text.arrow', 'lon,lat']);
    await expectCode(() => ArrowFile.open(path.join(folder, 'no.arrow')), 'DATASET_FILE_MISSING');
  });

  test('refuses big-endian files', async () => {
    const bytes = Buffer.from(original);
    // The schema table of the footer stores endianness only when it is not the default, so a field
    // is made: the vtable entry of `endianness` points at bytes that hold 1.
    const start = bytes.length - 10 - bytes.readInt32LE(bytes.length - 10);
    const root = start + bytes.readUInt32LE(start);
    const schemaAt = root + bytes.readUInt16LE(root - bytes.readInt32LE(root) + 6);
    const schema = schemaAt + bytes.readUInt32LE(schemaAt);
    const vtable = schema - bytes.readInt32LE(schema);
    const size = bytes.readUInt16LE(vtable + 2);
    const one = Array.from({ length: size + 64 }, (_, at) => at).find(
      (at) => at > 0 && bytes.readInt16LE(schema + at) === 1,
    );
    bytes.writeUInt16LE(one ?? 0, vtable + 4);
    expect(one).toBeGreaterThan(0);
    const big = file('big.arrow', bytes);
    await expectCode(() => ArrowFile.open(big), 'ARROW_ENDIANNESS', ['big.arrow', 'big-endian']);
  });

  test('refuses dictionary-encoded columns', async () => {
    const words = vectorFromArray(['a', 'b', 'a'], new Dictionary(new Utf8(), new Int32()));
    const table = new Table({ lon: vectorFromArray([1, 2, 3], new Float64()), word: words });
    const encoded = file('dictionary.arrow', tableToIPC(table, 'file'));
    await expectCode(() => ArrowFile.open(encoded), 'ARROW_DICTIONARY', [
      'dictionary.arrow',
      'word',
    ]);
    ArrowFile.open(encoded, { dictionaries: true }).close();
  });

  test('refuses compressed bodies', async () => {
    const bytes = Buffer.from(original);
    const nodes = Array.from({ length: 5 }, () => new FieldNode(40, 0));
    const regions = Array.from({ length: 10 }, () => new BufferRegion(0, 0));
    const header = new RecordBatch(40, nodes, regions, new BodyCompression(1));
    const metadata = Message.encode(Message.from(header, 0));
    // The batch's metadata lies where its block says; a compressed header of another length needs
    // its own block, so it is put over the first batch with the length corrected.
    const start = batchStart(bytes);
    const length = 4 * Math.ceil((metadata.length + 8) / 4);
    bytes.writeInt32LE(length - 8, start + 4);
    bytes.set(metadata, start + 8);
    const compressed = file('compressed.arrow', bytes);
    const reopened = ArrowFile.open(compressed);
    await expectCode(() => reopened.layout(0), 'ARROW_COMPRESSED', ['compressed.arrow', 'batch 0']);
    reopened.close();
  });
});

/** Offset of the first record batch: behind the magic and the schema message. */
function batchStart(bytes: Buffer): number {
  return 8 + 8 + bytes.readInt32LE(12);
}

describe('tileSource', () => {
  test('refuses data files whose columns or rows are not those of the dataset', async () => {
    const dataset = await openDataset(good);
    const write = (columns: Record<string, Float64Array | Float32Array>): TileSource => {
      const bytes = tableToIPC(tableFromArrays(columns), 'file');
      const copy = damaged((to) => writeFileSync(path.join(to, 'data-00000.arrow'), bytes));
      const parts = { path: copy, manifest: dataset.manifest, table: dataset.table };
      return createTileSource(parts, { measures: ['value'] });
    };
    // Each column needs its own memory: apache-arrow's writer drops a buffer that two columns
    // share.
    const numbers = (rows = 40): Float64Array =>
      Float64Array.from({ length: rows }, (_, row) => row);
    const base = { lon: numbers(), lat: numbers(), value: numbers() };
    const less = write({ lon: numbers(), lat: numbers() });
    await expectCode(() => less.resolve(0), 'COLUMN_MISSING', ['value', 'data-00000.arrow']);
    const floats = write({ ...base, value: Float32Array.from(numbers()) });
    await expectCode(() => floats.resolve(0), 'COLUMN_TYPE', ['value', 'Float32']);
    const short = write({ lon: numbers(39), lat: numbers(39), value: numbers(39) });
    await expectCode(() => short.resolve(0), 'TILE_CORRUPT', ['tile 0', '40 rows', '39']);
    const one = write(base);
    await expectCode(() => one.resolve(1), 'ARROW_CORRUPT', ['batch 1']);
    for (const source of [less, floats, short, one]) source.close();
  });

  test('takes Arrow files that others wrote with nullable columns', async () => {
    const dataset = await openDataset(good);
    const values = Array.from({ length: 40 }, (_, row) => (row % 5 === 0 ? null : row));
    const column = (): Vector<Float64> => vectorFromArray(values, new Float64());
    const table = new Table({ lon: column(), lat: column(), value: column() });
    const copy = damaged((to) =>
      writeFileSync(path.join(to, 'data-00000.arrow'), tableToIPC(table, 'file')),
    );
    const parts = { path: copy, manifest: dataset.manifest, table: dataset.table };
    const source = createTileSource(parts, { measures: ['value'] });
    const { x } = source.resolve(0);
    const bytes = readFileSync(path.join(copy, 'data-00000.arrow'));
    expect(bytes[x.validityOffset ?? 0]).toBe(0b11011110);
    expect(bytes.readDoubleLE(x.dataOffset + 8 * 7)).toBe(7);
    source.close();
  });
});
