import { describe, expect, test } from 'vitest';
import { readExport, writeExport, type HistoryLine } from '../../history/index.ts';
import { POLICIES } from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import { wholeRun } from './fixtures.ts';

const recipes = { policies: POLICIES, registries: [REGISTRY] };

async function exported(lines: Iterable<HistoryLine>, stored = recipes): Promise<Buffer> {
  const texts: string[] = [];
  for await (const text of writeExport('run-1', stored, lines)) texts.push(text);
  return Buffer.from(texts.join(''));
}

/** The file in pieces whose borders fall anywhere. */
async function* pieces(bytes: Uint8Array, size = 1_000): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Uint8Array, size?: number): Promise<HistoryLine[]> {
  const { lines } = await readExport(pieces(bytes, size), 'plans.jsonl');
  const all: HistoryLine[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

interface Broken {
  readonly code: string;
  readonly message: string;
  readonly details: { readonly record?: number };
}

async function failureOf(bytes: Uint8Array): Promise<Broken> {
  try {
    await readAll(bytes, 1 << 16);
  } catch (error) {
    return error as Broken;
  }
  throw new Error('the export was read as if it were whole');
}

const LINES = [...wholeRun(2, { shards: 2 })];
const small = { policies: [], registries: [] };

describe('an export', () => {
  test.each([1, 7, 1_000, 1 << 20])(
    'reads back as it was written, in pieces of %d bytes',
    async (size) => {
      const bytes = await exported(LINES);
      const { header } = await readExport(pieces(bytes, size), 'plans.jsonl');
      expect(header.policies).toEqual(JSON.parse(JSON.stringify(POLICIES)));
      const read = await readAll(bytes, size);
      expect(read.map((line) => JSON.stringify(line))).toEqual(LINES.map((l) => JSON.stringify(l)));
      expect(await exported(read)).toEqual(bytes);
    },
  );

  test('of a run without plans is whole', async () => {
    expect(await readAll(await exported([]))).toEqual([]);
  });

  test('holds texts of any kind', async () => {
    const [line] = LINES;
    const odd = { ...(line as HistoryLine), activityId: 'p\u2028\u2029\n"\\\u0000é🜁/0.0' };
    expect(await readAll(await exported([odd]))).toEqual([odd]);
  });

  test('is refused for a flip of any byte, and names the record', async () => {
    const bytes = await exported(LINES, small);
    const lineOf: number[] = [];
    let line = 0;
    for (const byte of bytes) {
      lineOf.push(line);
      if (byte === 10) line += 1;
    }
    const unnamed: number[] = [];
    for (let at = 0; at < bytes.length; at += 1) {
      const edited = Buffer.from(bytes);
      edited[at] = (edited[at] ?? 0) ^ (at % 2 === 0 ? 1 : 0x20);
      const { code, details } = await failureOf(edited);
      const inHeader = lineOf[at] === 0;
      expect(
        inHeader ? ['PLAN_EXPORT_BROKEN', 'PLAN_EXPORT_UNKNOWN'] : ['PLAN_EXPORT_BROKEN'],
      ).toContain(code);
      // An edited chain value is seen where it stands; nothing later is blamed.
      if (!inHeader && details.record !== lineOf[at]) unnamed.push(at);
    }
    expect(unnamed).toEqual([]);
  }, 120_000);

  test('names number, shard and chunk of an edited record', async () => {
    const bytes = await exported(LINES, small);
    const at = bytes.lastIndexOf('"work"');
    const edited = Buffer.from(bytes);
    edited.write('"wurk"', at);
    const { message } = await failureOf(edited);
    expect(message).toContain(`record ${LINES.length} (shard 1, chunk 1)`);
  });

  test('is refused when cut at any line or within one', async () => {
    const bytes = await exported(LINES, small);
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) {
      for (const length of [at - 3, at, ...(at === bytes.length - 1 ? [] : [at + 1])]) {
        const { code } = await failureOf(bytes.subarray(0, length));
        expect(['PLAN_EXPORT_BROKEN', 'PLAN_EXPORT_UNKNOWN']).toContain(code);
      }
    }
    const cut = bytes.subarray(0, bytes.lastIndexOf('{"schema'));
    expect((await failureOf(cut)).message).toContain(`record ${LINES.length} (shard 1, chunk 1)`);
  });

  test('is refused with lines left out, doubled, swapped or added', async () => {
    const texts = (await exported(LINES, small)).toString().split(/(?<=\n)/u);
    const [header = '', first = '', second = '', ...rest] = texts;
    for (const other of [
      [header, second, ...rest],
      [header, first, first, second, ...rest],
      [header, second, first, ...rest],
      [...texts, '\n'],
      [...texts, rest.at(-1) ?? ''],
      [header, '\n', first, second, ...rest],
    ]) {
      expect((await failureOf(Buffer.from(other.join('')))).code).toBe('PLAN_EXPORT_BROKEN');
    }
  });

  test.each([
    '',
    '\n',
    '{}',
    'null\n',
    '{"schema":"tileloom.plan-export/2","runId":"r"}\n',
    '\u0000',
  ])('is not taken for %j', async (text) => {
    expect((await failureOf(Buffer.from(text))).code).toBe('PLAN_EXPORT_UNKNOWN');
  });
});
