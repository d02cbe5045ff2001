// Owns the export of plan lines: one file that holds a run's plans with the policies and registries
// they were made with, so that they can be listed, replayed and planned anew anywhere.
//
//   line 1      the header, a `tileloom.plan-export/1`
//   line 1 + i  {"n":i,"chain":"<64 hex>","record":<the line's JSON, byte for byte>}, i from 1
//   last line   {"schema":"tileloom.plan-export-end/1","count":N,"chain":"<64 hex>"}
//
// I1. chain_0 = SHA-256(header), chain_i = SHA-256(chain_{i−1} in hex ‖ record i): a cut, an edit, a line
//     left out or put in shows at the first line it touches, and is named by number, shard and chunk.
// I2. A line must be exactly what the writer writes, each ends with a line feed, nothing follows the last.
// I3. No time, host or path of the exporter: the same records give the same bytes.
import { createHash } from 'node:crypto';
import { HistoryError } from './errors.ts';
import type { HistoryLine } from './plan-lines.ts';
import type { StoredRecipes } from './sealed.ts';

export const EXPORT_SCHEMA = 'tileloom.plan-export/1';
const END_SCHEMA = 'tileloom.plan-export-end/1';

export interface ExportHeader extends StoredRecipes {
  readonly schema: typeof EXPORT_SCHEMA;
  readonly runId: string;
  /** Schema of the records. */
  readonly records: 'tileloom.plan-line/1';
}

const sha256 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** Writes an export as texts, one line each, with their line feeds. */
export async function* writeExport(
  runId: string,
  recipes: StoredRecipes,
  lines: AsyncIterable<HistoryLine> | Iterable<HistoryLine>,
): AsyncGenerator<string> {
  const { policies, registries } = recipes;
  const header: ExportHeader = {
    schema: EXPORT_SCHEMA,
    runId,
    records: 'tileloom.plan-line/1',
    policies,
    registries,
  };
  const text = JSON.stringify(header);
  let chain = sha256(text);
  let count = 0;
  yield `${text}\n`;
  for await (const line of lines) {
    const record = JSON.stringify(line);
    count += 1;
    chain = sha256(chain, record);
    yield `${prefix(count, chain)}${record}}\n`;
  }
  yield endLine(count, chain);
}

export interface ReadExport {
  readonly header: ExportHeader;
  /** To be read once, to its end: only then the export is known to be whole. */
  readonly lines: AsyncIterable<HistoryLine>;
}

/**
 * Reads an export.
 *
 * @param chunks the file's bytes in order
 * @param source its name in messages
 * @throws {HistoryError} `PLAN_EXPORT_UNKNOWN` for a file that is no export or a newer one;
 *   `PLAN_EXPORT_BROKEN` (from the lines, too) naming the first record that is not as it was written
 */
export async function readExport(
  chunks: AsyncIterable<Uint8Array>,
  source: string,
): Promise<ReadExport> {
  const physical = splitLines(chunks)[Symbol.asyncIterator]();
  const first = await physical.next();
  const bytes = first.done === true ? new Uint8Array() : first.value.bytes;
  const header = parseHeader(bytes, source);
  return { header, lines: recordsOf(physical, sha256(bytes), source) };
}

async function* recordsOf(
  physical: AsyncIterator<PhysicalLine>,
  headerChain: string,
  source: string,
): AsyncGenerator<HistoryLine> {
  let chain = headerChain;
  let count = 0;
  let last = '';
  for (;;) {
    const next = await physical.next();
    if (next.done === true || !next.value.isEnded) throw cut(source, count, last);
    const bytes = asBuffer(next.value.bytes);
    const headLength = prefix(count + 1, '').length + CHAIN_DIGITS;
    const expected = sha256(chain, bytes.subarray(headLength, -1));
    const isWhole =
      bytes.at(-1) === CLOSING_BRACE &&
      bytes.toString('latin1', 0, headLength) === prefix(count + 1, expected);
    if (!isWhole) {
      if (`${bytes.toString('utf8')}\n` === endLine(count, chain)) break;
      throw edited(source, count, bytes);
    }
    count += 1;
    chain = expected;
    last = bytes.toString('utf8', headLength, bytes.length - 1);
    yield JSON.parse(last) as HistoryLine;
  }
  const after = await physical.next();
  if (after.done !== true) throw trailing(source, count);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const CHAIN_DIGITS = 64;
const CLOSING_BRACE = 0x7d;
const RECORD_KEY = '","record":';

function prefix(n: number, chain: string): string {
  return `{"n":${String(n)},"chain":"${chain}${RECORD_KEY}`;
}

function endLine(count: number, chain: string): string {
  return `${JSON.stringify({ schema: END_SCHEMA, count, chain })}\n`;
}

function parseHeader(bytes: Uint8Array, source: string): ExportHeader {
  let header: Partial<ExportHeader> | null = null;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as ExportHeader;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  const isKnown =
    header?.schema === EXPORT_SCHEMA &&
    header.records === 'tileloom.plan-line/1' &&
    typeof header.runId === 'string' &&
    Array.isArray(header.policies) &&
    Array.isArray(header.registries);
  if (isKnown) return header as ExportHeader;
  const got = String(header?.schema ?? 'something else').slice(0, 80);
  throw new HistoryError(
    'PLAN_EXPORT_UNKNOWN',
    `${source} is no plan export that can be read: expected ${EXPORT_SCHEMA} in its first line, got ` +
      `${got}; export again with tileloom plan export, or read it with the version that wrote it`,
    { details: { source, got } },
  );
}

interface PhysicalLine {
  /** Without the line feed. */
  readonly bytes: Uint8Array;
  /** Whether a line feed ended it. */
  readonly isEnded: boolean;
}

/** A line is a record of a few KiB, or the header; more is no export. */
const LINE_BYTES_MAX = 64 << 20;

async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<PhysicalLine> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, at);
      yield {
        bytes: pending.length === 0 ? piece : Buffer.concat([...pending, piece]),
        isEnded: true,
      };
      pending = [];
      pendingBytes = 0;
      from = at + 1;
    }
    if (from < chunk.length) {
      pending.push(chunk.subarray(from));
      pendingBytes += chunk.length - from;
      if (pendingBytes > LINE_BYTES_MAX) break;
    }
  }
  if (pending.length > 0) yield { bytes: Buffer.concat(pending), isEnded: false };
}

/** `shard 0, chunk 3` of a record, as far as its text still tells. */
function placeOf(text: string): string {
  const shard = /"shard":(\d+)/.exec(text)?.[1];
  const chunk = /"chunk":(\d+)/.exec(text)?.[1];
  return `shard ${shard ?? 'unknown'}, chunk ${chunk ?? 'unknown'}`;
}

function edited(source: string, count: number, bytes: Uint8Array): HistoryError {
  const text = new TextDecoder().decode(bytes);
  const isEnd = text.startsWith('{"schema"');
  const which = isEnd
    ? `the last line, after record ${String(count)}`
    : `record ${String(count + 1)} (${placeOf(text)})`;
  const where = count === 0 ? `the header or ${which}` : which;
  return broken(source, where, 'what plan export wrote', 'other bytes', count + 1);
}

function cut(source: string, count: number, last: string): HistoryError {
  const after = count === 0 ? 'the header' : `record ${String(count)} (${placeOf(last)})`;
  return broken(
    source,
    `what follows ${after}`,
    'more records or the last line',
    'nothing whole',
    count + 1,
  );
}

function trailing(source: string, count: number): HistoryError {
  return broken(
    source,
    `what follows the last record, ${String(count)}`,
    'nothing',
    'more bytes',
    count + 1,
  );
}

function broken(
  source: string,
  where: string,
  expected: string,
  got: string,
  record: number,
): HistoryError {
  return new HistoryError(
    'PLAN_EXPORT_BROKEN',
    `plan export ${source} is broken at ${where}: expected ${expected}, got ${got}; ` +
      'export it again, or take a copy that was not touched',
    { details: { source, record } },
  );
}
