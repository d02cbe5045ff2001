// Sinks, parts, segments and the run digest.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  TileLedger,
  claimSink,
  cleanSink,
  createPartWriter,
  decodeTileRecords,
  emptyPartials,
  encodePartials,
  encodeTileRecords,
  partFileName,
  readClaim,
  readMarker,
  readPart,
  readSegmentChain,
  readSegmentPartials,
  readSegmentTiles,
  runDigest,
  verifyPart,
  writeManifest,
  writeMarker,
  writePart,
  writeSegment,
  type PartTile,
  type SegmentReference,
  type SinkManifest,
  type SinkMarker,
  type TileRecord,
} from '../../datasets/index.ts';
import { expectCode, temporaryFolder } from './support.ts';

const folder = temporaryFolder();
let serial = 0;
const fresh = (): string => path.join(folder, `sink-${(serial += 1)}`);
const partials = encodePartials(emptyPartials(1));
const NO_RECORDS = {
  file: 'shard-0-00000-e3b0c44298fc1c14.jsonl',
  sha256: createHash('sha256').digest('hex'),
  lines: 0,
};
const digest = (tile: number): string => tile.toString(16).padStart(32, '0');

function tileOf(tile: number, output: Int32Array | null): PartTile {
  return {
    tile,
    rows: 10 + tile,
    hits: 3,
    outside: 6,
    invalid: 1 + tile,
    digest: digest(tile),
    output,
  };
}

describe('parts', () => {
  test('give back tiles, outputs and the aggregate, over many batches', async () => {
    const file = path.join(fresh(), 'parts', partFileName(0, 5, 2505, 'abc'));
    expect(path.basename(file)).toBe('0-5-2504-abc.arrow');
    const tiles = Array.from({ length: 2500 }, (_, index) =>
      tileOf(5 + index, index % 7 === 0 ? null : Int32Array.of(index, -1, -2)),
    );
    const written = await writePart(file, { tiles, partials: () => partials });
    const bytes = readFileSync(file);
    expect(written).toEqual({
      file: path.basename(file),
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    });
    const part = await readPart(file, written.sha256);
    expect(part.tiles).toEqual(tiles);
    expect(part.partials).toEqual(partials);
    expect(tableFromIPC(bytes).batches.length).toBe(3);
    await verifyPart(file, written.sha256);
  });

  test('have bytes that do not depend on how tiles were handed over', async () => {
    const root = fresh();
    const tiles = Array.from({ length: 1500 }, (_, index) => tileOf(index, Int32Array.of(index)));
    const whole = await writePart(path.join(root, 'a.arrow'), { tiles, partials });
    const writer = await createPartWriter(path.join(root, 'b.arrow'));
    for (let from = 0; from < 1500; from += 77) await writer.append(tiles.slice(from, from + 77));
    expect((await writer.finish(partials)).sha256).toBe(whole.sha256);
  });

  test('are written once, ascending, and leave nothing when abandoned', async () => {
    const root = fresh();
    const file = path.join(root, 'p.arrow');
    await writePart(file, { tiles: [tileOf(1, null)], partials });
    await expectCode(() => writePart(file, { tiles: [tileOf(1, null)], partials }), 'PART_EXISTS', [
      'p.arrow',
    ]);
    const other = path.join(root, 'q.arrow');
    const wrong = { tiles: [tileOf(2, null), tileOf(2, null)], partials };
    await expectCode(() => writePart(other, wrong), 'PART_CORRUPT');
    await expectCode(() => writePart(other, { tiles: [], partials }), 'PART_CORRUPT');
    const writer = await createPartWriter(other);
    await writer.append([tileOf(3, null)]);
    await writer.abandon();
    expect(readdirSync(root)).toEqual(['p.arrow']);
  });

  test('are refused when missing, changed or truncated', async () => {
    const root = fresh();
    const file = path.join(root, 'p.arrow');
    const { sha256 } = await writePart(file, { tiles: [tileOf(1, Int32Array.of(4))], partials });
    const bytes = readFileSync(file);
    await expectCode(() => readPart(path.join(root, 'no.arrow'), sha256), 'PART_CORRUPT', [
      'no.arrow',
    ]);
    bytes[300] = (bytes[300] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await expectCode(() => readPart(file, sha256), 'PART_CORRUPT', ['SHA-256']);
    writeFileSync(file, bytes.subarray(0, 200));
    await expectCode(() => verifyPart(file, sha256), 'PART_CORRUPT');
    await expectCode(() => readPart(file, null), 'PART_CORRUPT');
  });
});

describe('tile records', () => {
  const records = fc.uniqueArray(
    fc.record({
      tile: fc.nat({ max: 40 }),
      rows: fc.nat(70_000),
      state: fc.constantFrom('done' as const, 'parked' as const),
    }),
    { selector: ({ tile }) => tile, maxLength: 41 },
  );
  const full = (
    list: readonly { tile: number; rows: number; state: 'done' | 'parked' }[],
  ): TileRecord[] =>
    list.map((item) => ({ ...item, digest: item.state === 'done' ? digest(item.tile + 9) : null }));

  test('survive a round trip and have 32 documented bytes', () => {
    fc.assert(
      fc.property(records, (list) => {
        expect(decodeTileRecords(encodeTileRecords(full(list)))).toEqual(full(list));
      }),
    );
    const bytes = encodeTileRecords([
      { tile: 2 ** 33 + 1, rows: 7, state: 'done', digest: 'f'.repeat(32) },
      { tile: 2, rows: 8, state: 'parked', digest: null },
    ]);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      `0100000002000000${'07000000'}${'00000000'}${'f'.repeat(32)}` +
        `0200000000000000${'08000000'}${'01000000'}${'0'.repeat(32)}`,
    );
  });

  test('give one run digest, in whatever order they are collected', () => {
    const all = full(
      Array.from({ length: 20 }, (_, tile) => ({
        tile,
        rows: tile,
        state: tile === 4 ? 'parked' : 'done',
      })),
    );
    const expected = createHash('sha256')
      .update(encodeTileRecords(all))
      .update(partials)
      .digest('hex');
    expect(runDigest(all, partials)).toBe(expected);
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 20 }), fc.nat(19), (shuffled, cut) => {
        const ledger = new TileLedger(20);
        ledger.add(encodeTileRecords(shuffled.slice(0, cut)), 0);
        ledger.add(encodeTileRecords(shuffled.slice(cut)), 1);
        expect(ledger.digest(partials)).toBe(expected);
      }),
    );
  });

  test('must cover each tile exactly once', async () => {
    const ledger = new TileLedger(5);
    ledger.add(
      encodeTileRecords(full([1, 2].map((tile) => ({ tile, rows: 1, state: 'done' })))),
      0,
    );
    expect(ledger.missing()).toEqual([
      { firstTile: 0, endTile: 1 },
      { firstTile: 3, endTile: 5 },
    ]);
    await expectCode(() => ledger.digest(partials), 'LEDGER_BROKEN', ['0 to 0']);
    const again = encodeTileRecords(full([{ tile: 2, rows: 1, state: 'done' }]));
    await expectCode(() => ledger.add(again, 0), 'LEDGER_BROKEN', ['tile 2']);
    const beyond = encodeTileRecords(full([{ tile: 5, rows: 1, state: 'done' }]));
    await expectCode(() => ledger.add(beyond, 0), 'LEDGER_BROKEN', ['tile 5']);
    await expectCode(() => decodeTileRecords(new Uint8Array(33)), 'SEGMENT_CORRUPT');
  });
});

describe('segments', () => {
  const record = (tile: number): TileRecord => ({
    tile,
    rows: 1,
    state: 'done',
    digest: digest(tile),
  });
  const partRef = (tile: number): object => ({
    firstTile: tile,
    endTile: tile + 1,
    file: `0-${tile}-${tile}-t.arrow`,
    sha256: '0'.repeat(64),
    bytes: 1,
    rows: 1,
  });
  async function chain(sink: string, length: number): Promise<SegmentReference[]> {
    const heads: SegmentReference[] = [];
    for (let sequence = 0; sequence < length; sequence += 1) {
      const reference = await writeSegment(sink, {
        runId: 'r',
        shard: 3,
        sequence,
        previous: heads.at(-1) ?? null,
        parts: [partRef(2 * sequence + 1), partRef(2 * sequence)] as never,
        parked: [],
        records: [record(2 * sequence + 1), record(2 * sequence)],
        partials,
        planRecords: NO_RECORDS,
      });
      heads.push(reference);
    }
    return heads;
  }

  test('are read back from the head, oldest first, with sorted content', async () => {
    const sink = fresh();
    const heads = await chain(sink, 3);
    const segments = await readSegmentChain(sink, heads[2] as SegmentReference);
    expect(segments.map(({ sequence }) => sequence)).toEqual([0, 1, 2]);
    expect(segments[1]?.previousSha256).toBe(heads[0]?.sha256);
    expect(segments[1]?.parts.map(({ firstTile }) => firstTile)).toEqual([2, 3]);
    const tiles = await readSegmentTiles(sink, segments[1] as never);
    expect(decodeTileRecords(tiles).map(({ tile }) => tile)).toEqual([2, 3]);
    const merged = await readSegmentPartials(sink, segments[1] as never);
    expect(Uint8Array.from(merged)).toEqual(partials);
  });

  test('are written again harmlessly, and other content never replaces them', async () => {
    const sink = fresh();
    const first = await chain(sink, 2);
    const names = readdirSync(path.join(sink, 'segments'));
    expect(await chain(sink, 2)).toEqual(first);
    await writeSegment(sink, {
      runId: 'r',
      shard: 3,
      sequence: 1,
      previous: first[0] ?? null,
      parts: [],
      parked: [],
      records: [],
      partials,
      planRecords: NO_RECORDS,
    });
    for (const name of names) expect(readdirSync(path.join(sink, 'segments'))).toContain(name);
    expect((await readSegmentChain(sink, first[1] as SegmentReference)).length).toBe(2);
  });

  test('refuse a chain that is changed, incomplete or of another shard', async () => {
    const sink = fresh();
    const heads = await chain(sink, 2);
    const head = heads[1] as SegmentReference;
    const file = (name: string): string => path.join(sink, 'segments', name);
    const text = readFileSync(file(heads[0]?.file ?? ''), 'utf8');
    writeFileSync(file(heads[0]?.file ?? ''), text.replace('"r"', '"s"'));
    await expectCode(() => readSegmentChain(sink, head), 'SEGMENT_CORRUPT', ['SHA-256']);
    rmSync(file(heads[0]?.file ?? ''));
    await expectCode(() => readSegmentChain(sink, head), 'SEGMENT_CORRUPT', ['no file']);
    const other = await writeSegment(fresh(), {
      runId: 'r',
      shard: 3,
      sequence: 5,
      previous: null,
      parts: [],
      parked: [],
      records: [],
      partials,
      planRecords: NO_RECORDS,
    });
    const alone = path.join(folder, `sink-${serial}`);
    await expectCode(() => readSegmentChain(alone, other), 'LEDGER_BROKEN', ['chain']);
  });
});

const marker: SinkMarker = {
  schema: 'tileloom.marker/1',
  runId: 'run-a',
  runDigest: 'd',
  specDigest: 's',
  datasetDigest: 'e',
  tiles: 3,
  rows: 30,
  hits: 1,
  outside: 2,
  invalid: 27,
  parkedTiles: 0,
  skippedTiles: 0,
  generation: 0,
  versions: { tileloom: '0.1.0' },
};
const manifest: SinkManifest = {
  schema: 'tileloom.manifest/1',
  runId: 'run-a',
  specDigest: 's',
  datasetDigest: 'e',
  runDigest: 'd',
  generation: 0,
  tiles: 3,
  rows: 30,
  hits: 1,
  outside: 2,
  invalid: 27,
  segments: [],
  parts: [],
  parked: [],
  results: [],
};

describe('sinks', () => {
  test('belong to one run: the second is told whose they are', async () => {
    const sink = fresh();
    await claimSink(sink, 'run-a');
    await claimSink(sink, 'run-a');
    await expectCode(() => claimSink(sink, 'run-b'), 'SINK_CLAIMED', ['run-a', sink]);
    expect(await readClaim(sink)).toBe('run-a');
    expect(readdirSync(sink).sort()).toEqual(['_CLAIM', 'parts', 'records', 'segments']);
  });

  test('are won by exactly one of many claimants', async () => {
    const sink = fresh();
    const claims = Array.from({ length: 12 }, (_, index) => claimSink(sink, `run-${index}`));
    const results = await Promise.allSettled(claims);
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1);
    for (const result of results) {
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ code: 'SINK_CLAIMED' });
    }
    expect(readdirSync(sink).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('are not made of folders with other files', async () => {
    const sink = fresh();
    mkdirSync(sink);
    writeFileSync(path.join(sink, 'photo.jpg'), '');
    await expectCode(() => claimSink(sink, 'run-a'), 'SINK_NOT_EMPTY', ['photo.jpg']);
    expect(readdirSync(sink)).toEqual(['photo.jpg']);
  });

  test('publish idempotently and never change what was published', async () => {
    const sink = fresh();
    await claimSink(sink, 'run-a');
    expect(await readMarker(sink)).toBeNull();
    await writeManifest(sink, manifest);
    await writeMarker(sink, { ...marker, parkedTiles: 1 });
    expect(readdirSync(sink)).toContain('_PARTIAL');
    expect((await readMarker(sink))?.parkedTiles).toBe(1);
    await writeMarker(sink, marker);
    await writeMarker(sink, marker);
    await writeManifest(sink, manifest);
    expect(await readMarker(sink)).toEqual(marker);
    await expectCode(() => writeMarker(sink, { ...marker, runDigest: 'x' }), 'SINK_CONFLICT');
    await expectCode(() => writeManifest(sink, { ...manifest, rows: 1 }), 'SINK_CONFLICT');
  });

  test('are cleaned of what nothing names, and of nothing else', async () => {
    const sink = fresh();
    await claimSink(sink, 'run-a');
    for (const name of ['kept.arrow', 'named.arrow', 'orphan.arrow', 'torn.arrow.12.tmp']) {
      writeFileSync(path.join(sink, 'parts', name), 'x');
    }
    writeFileSync(path.join(sink, 'records', 'context.json'), '{}');
    const kept = await writeSegment(sink, {
      runId: 'run-a',
      shard: 0,
      sequence: 0,
      previous: null,
      parts: [],
      parked: [],
      records: [],
      partials,
      planRecords: NO_RECORDS,
    });
    writeFileSync(path.join(sink, 'segments', '0-0-0000000000000000.json'), '{}');
    const part = { file: 'named.arrow', sha256: '', bytes: 1, rows: 1, firstTile: 0, endTile: 1 };
    await writeManifest(sink, { ...manifest, parts: [part], segments: [kept] });
    const { removed, bytes } = await cleanSink(sink, { keep: ['kept.arrow'] });
    expect([...removed].sort()).toEqual([
      'parts/orphan.arrow',
      'parts/torn.arrow.12.tmp',
      'segments/0-0-0000000000000000.json',
    ]);
    expect(bytes).toBe(4);
    expect(readdirSync(path.join(sink, 'parts')).sort()).toEqual(['kept.arrow', 'named.arrow']);
    expect(readdirSync(path.join(sink, 'segments')).length).toBe(3);
    expect(readdirSync(path.join(sink, 'records'))).toEqual(['context.json']);
    await expectCode(() => cleanSink(folder, { keep: [] }), 'SINK_NOT_CLAIMED');
  });
});
