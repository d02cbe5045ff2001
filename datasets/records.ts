// Owns sealed plan records: the lines of one segment, in a file that the segment names by its digest.
// I1 a file's name carries the digest of its content, so a late attempt of the same seal cannot
//    replace what another one wrote.
// I2 nothing is given out before the whole file is verified against the segment.
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { syncFolder, temporaryName } from './durable.ts';
import { DatasetError, fileError } from './errors.ts';

export const RECORDS_FOLDER = 'records';

/** Names the records of one segment. */
export interface RecordsReference {
  /** File name under the sink's `records/`. */
  readonly file: string;
  readonly sha256: string;
  readonly lines: number;
}

/** Names of files that `writeRecords` makes; other files in the folder are somebody else's. */
export const RECORDS_NAME = /^shard-\d+-\d{5,}-[0-9a-f]{16}\.jsonl$/u;

const BUFFER_BYTES = 1 << 18;

/**
 * Writes the records of one segment durably, one line in memory at a time; the same lines again
 * give the same file.
 *
 * @param lines JSON texts without line breaks
 */
export async function writeRecords(
  sink: string,
  place: { readonly shard: number; readonly sequence: number },
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<RecordsReference> {
  const folder = path.join(sink, RECORDS_FOLDER);
  const stem = `shard-${place.shard}-${String(place.sequence).padStart(5, '0')}`;
  const temporary = temporaryName(path.join(folder, `${stem}.jsonl`));
  try {
    await mkdir(folder, { recursive: true });
    const { sha256, count } = await writeLines(temporary, lines);
    const file = `${stem}-${sha256.slice(0, 16)}.jsonl`;
    await rename(temporary, path.join(folder, file));
    await syncFolder(folder);
    return { file, sha256, lines: count };
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw fileError(error, 'writing', temporary);
  }
}

/**
 * Reads the records of one segment.
 *
 * @returns the lines without their line breaks, byte for byte as they were written
 * @throws {DatasetError} `RECORDS_CORRUPT` when the file is missing, cut or edited; `details.line`
 *   is the first line, from 1, that cannot be one of them, where that shows
 */
export async function readRecords(sink: string, reference: RecordsReference): Promise<string[]> {
  const file = path.join(sink, RECORDS_FOLDER, path.basename(reference.file));
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw fileError(error, 'reading', file);
    throw corrupt(file, 'the plan records of a segment', 'no file', null, error);
  }
  const lines = bytes.length === 0 ? [] : bytes.toString('utf8').split('\n');
  const whole = lines.length === 0 || lines.pop() === '';
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (digest === reference.sha256 && whole && lines.length === reference.lines) return lines;
  const broken = lines.findIndex((line) => !isJson(line));
  if (broken >= 0) {
    throw corrupt(file, 'a plan record', `line ${broken + 1} that is not JSON`, broken + 1);
  }
  if (lines.length !== reference.lines) {
    const line = Math.min(lines.length, reference.lines) + 1;
    throw corrupt(file, `${reference.lines} lines`, `${lines.length}`, line);
  }
  throw corrupt(file, `SHA-256 ${reference.sha256}`, digest, null);
}

async function writeLines(
  file: string,
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<{ sha256: string; count: number }> {
  const hash = createHash('sha256');
  let pending: string[] = [];
  let pendingBytes = 0;
  let count = 0;
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, 'wx');
    for await (const line of lines) {
      pending.push(line, '\n');
      pendingBytes += line.length + 1;
      count += 1;
      if (pendingBytes < BUFFER_BYTES) continue;
      await append(handle, hash, pending);
      pending = [];
      pendingBytes = 0;
    }
    await append(handle, hash, pending);
    await handle.sync();
  } finally {
    await handle?.close();
  }
  return { sha256: hash.digest('hex'), count };
}

async function append(
  handle: FileHandle,
  hash: ReturnType<typeof createHash>,
  texts: readonly string[],
): Promise<void> {
  if (texts.length === 0) return;
  const bytes = Buffer.from(texts.join(''), 'utf8');
  hash.update(bytes);
  await handle.writeFile(bytes);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function corrupt(
  file: string,
  expected: string,
  got: string,
  line: number | null,
  cause?: unknown,
): DatasetError {
  return new DatasetError(
    'RECORDS_CORRUPT',
    `the plan records ${file} cannot be used: expected ${expected}, got ${got}; ` +
      'restore the file from a copy, or read the records from the server',
    { details: { file, expected, got, ...(line === null ? {} : { line }) }, cause },
  );
}
