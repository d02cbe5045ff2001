// Sealed plan records: written once, named by their segment, and never read when they were touched.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  emptyPartials,
  encodePartials,
  parkedOf,
  readRecords,
  readSegmentChain,
  readSegmentRecords,
  writeRecords,
  writeSegment,
  type RecordsReference,
  type Segment,
  type SegmentReference,
} from '../../datasets/index.ts';
import { expectCode, temporaryFolder } from './support.ts';

const folder = temporaryFolder();
let serial = 0;
function freshSink(): string {
  const sink = path.join(folder, `sink-${(serial += 1)}`);
  mkdirSync(sink);
  return sink;
}

const LINES = ['{"eventId":7}', '{"eventId":11,"message":"größer als 😀"}', '{"eventId":12}'];

/** One sink with these records, the file's path, and a way to put other bytes there. */
async function written(lines: readonly string[] = LINES): Promise<{
  sink: string;
  reference: RecordsReference;
  file: string;
  edit: (change: (text: string) => string) => void;
}> {
  const sink = freshSink();
  const reference = await writeRecords(sink, { shard: 3, sequence: 12 }, lines);
  const file = path.join(sink, 'records', reference.file);
  const edit = (change: (text: string) => string): void => {
    writeFileSync(file, change(readFileSync(file, 'utf8')));
  };
  return { sink, reference, file, edit };
}

describe('sealed records', () => {
  test('are a file of lines whose name carries its digest', async () => {
    const { sink, reference, file } = await written();
    const bytes = readFileSync(file);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    expect(bytes.toString('utf8')).toBe(`${LINES.join('\n')}\n`);
    expect(reference).toEqual({
      file: `shard-3-00012-${sha256.slice(0, 16)}.jsonl`,
      sha256,
      lines: 3,
    });
    expect(await readRecords(sink, reference)).toEqual(LINES);
    expect(readdirSync(path.join(sink, 'records'))).toEqual([reference.file]);
  });

  test('come back byte for byte, whatever JSON they hold', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.json({ stringUnit: 'binary' })), async (texts) => {
        const lines = texts.map((text) => JSON.stringify(JSON.parse(text)));
        const { sink, reference } = await written(lines);
        expect(await readRecords(sink, reference)).toEqual(lines);
      }),
      { numRuns: 50 },
    );
  });

  test('may be none, and may be more than a buffer holds', async () => {
    const none = await written([]);
    expect(await readRecords(none.sink, none.reference)).toEqual([]);
    const many = Array.from(
      { length: 9_000 },
      (_, index) => `{"n":${index},"x":"${'y'.repeat(80)}"}`,
    );
    const large = await written(many);
    expect(await readRecords(large.sink, large.reference)).toEqual(many);
  });

  test('of a source that fails in the middle leave no file', async () => {
    const sink = freshSink();
    const lines = async function* (): AsyncGenerator<string> {
      yield '{}';
      throw new Error('the service went away');
    };
    const place = { shard: 0, sequence: 0 };
    await expect(writeRecords(sink, place, lines())).rejects.toThrow('the service went away');
    expect(readdirSync(path.join(sink, 'records'))).toEqual([]);
  });

  test.each([
    ['a byte of a number', (text: string) => text.replace('11', '12'), null],
    [
      'the order of lines',
      (text: string) => text.split('\n').toSorted().join('\n').trim() + '\n',
      null,
    ],
    ['a bracket', (text: string) => text.replace('{"eventId":11', '["eventId":11'), 2],
    ['the last line', (text: string) => text.slice(0, -15), 3],
    ['all lines', () => '', 1],
    ['half a line', (text: string) => text.slice(0, 30), 2],
    ['the last line break', (text: string) => text.slice(0, -1), 3],
    ['one more line', (text: string) => `${text}{"eventId":13}\n`, 4],
    ['an empty line', (text: string) => text.replace('\n', '\n\n'), 2],
  ])('are refused where somebody changed %s', async (_, change, line) => {
    const { sink, reference, edit, file } = await written();
    edit(change);
    await expectCode(() => readRecords(sink, reference), 'RECORDS_CORRUPT', [file]);
    if (line === null) return;
    await expect(readRecords(sink, reference)).rejects.toMatchObject({ details: { line } });
  });

  test('are refused for every single byte that is another', async () => {
    const { sink, reference, file } = await written(LINES.slice(0, 1));
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at += 1) {
      const edited = Buffer.from(bytes);
      edited[at] = (edited[at] ?? 0) ^ 1;
      writeFileSync(file, edited);
      await expectCode(() => readRecords(sink, reference), 'RECORDS_CORRUPT');
    }
  });

  test('are refused when they are gone', async () => {
    const { sink, reference, file } = await written();
    rmSync(file);
    await expectCode(() => readRecords(sink, reference), 'RECORDS_CORRUPT', ['no file']);
  });
});

describe('segments and their records', () => {
  async function seal(
    sink: string,
    sequence: number,
    previous: SegmentReference | null,
  ): Promise<SegmentReference> {
    const place = { shard: 0, sequence };
    return writeSegment(sink, {
      ...{ runId: 'r', ...place, previous, parts: [], parked: [], records: [] },
      partials: encodePartials(emptyPartials(0)),
      planRecords: await writeRecords(sink, place, [`{"sequence":${sequence}}`]),
    });
  }

  test('are read through the chain, oldest first', async () => {
    const sink = freshSink();
    const head = await seal(sink, 1, await seal(sink, 0, null));
    const lines: string[] = [];
    for (const segment of await readSegmentChain(sink, head)) {
      lines.push(...(await readSegmentRecords(sink, segment)));
    }
    expect(lines).toEqual(['{"sequence":0}', '{"sequence":1}']);
  });

  test('are refused when another file lies under the name, or the segment names another', async () => {
    const sink = freshSink();
    const head = await seal(sink, 1, await seal(sink, 0, null));
    const [first, second] = (await readSegmentChain(sink, head)) as [Segment, Segment];
    const at = (segment: Segment): string => path.join(sink, 'records', segment.records.file);
    renameSync(at(first), at(second));
    await expectCode(() => readSegmentRecords(sink, first), 'RECORDS_CORRUPT', ['no file']);
    await expectCode(() => readSegmentRecords(sink, second), 'RECORDS_CORRUPT', ['SHA-256']);
    const file = path.join(sink, 'segments', head.file);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace(second.records.sha256, first.records.sha256));
    await expectCode(() => readSegmentChain(sink, head), 'SEGMENT_CORRUPT', ['SHA-256']);
  });
});

describe('parked tiles of a chain', () => {
  const parked = (tile: number, planId = 'p'): Segment['parked'][number] => ({
    ...{ tile, planId, errorClass: 'E', fingerprint: 'f', input: 'i', message: 'm' },
  });
  const segment = (changes: Partial<Segment>): Segment =>
    ({ parts: [], parked: [], ...changes }) as unknown as Segment;
  const part = (firstTile: number, endTile: number): Segment['parts'][number] => ({
    ...{ firstTile, endTile, file: 'x', sha256: '', bytes: 0, rows: 0 },
  });

  test('are those whose last record says so', () => {
    const chain = [
      segment({ parked: [parked(9), parked(2), parked(4)], parts: [part(0, 2)] }),
      segment({ parts: [part(3, 6)] }),
      segment({ parked: [parked(9, 'again'), parked(7)] }),
    ];
    expect(parkedOf(chain)).toEqual([parked(2), parked(7), parked(9, 'again')]);
    expect(parkedOf([])).toEqual([]);
  });
});
