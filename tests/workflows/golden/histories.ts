// Owns recorded histories on disk: one gzip file a behaviour, one line an execution. They hold nothing
// of the machine that recorded them.
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';

export interface GoldenHistory {
  readonly behaviour: string;
  readonly workflowType: string;
  readonly workflowId: string;
  /** As `historyToJSON` writes it. */
  readonly history: unknown;
}

const FOLDER = new URL('histories/', import.meta.url);
const SUFFIX = '.jsonl.gz';

/** Every recorded execution, by behaviour, in the order of recording. */
export async function readGolden(): Promise<readonly GoldenHistory[]> {
  const names = (await readdir(FOLDER)).filter((name) => name.endsWith(SUFFIX)).toSorted();
  const files = await Promise.all(
    names.map(async (name) => {
      const file = await readFile(new URL(name, FOLDER));
      const text = (await promisify(gunzip)(file)).toString('utf8');
      const behaviour = name.slice(0, -SUFFIX.length);
      return text
        .trimEnd()
        .split('\n')
        .map((line): GoldenHistory => ({ behaviour, ...(unpacked(JSON.parse(line)) as Recorded) }));
    }),
  );
  return files.flat();
}

type Recorded = Omit<GoldenHistory, 'behaviour'>;

/** Replaces the file of a behaviour; returns its path and size in bytes. */
export async function writeGolden(
  behaviour: string,
  histories: readonly Recorded[],
): Promise<{ readonly path: string; readonly bytes: number }> {
  const lines = histories.map((one) => `${JSON.stringify(packed(one))}\n`).join('');
  const bytes = await promisify(gzip)(lines, { level: 9 });
  const url = new URL(`${behaviour}${SUFFIX}`, FOLDER);
  await writeFile(url, bytes);
  return { path: fileURLToPath(url), bytes: bytes.length };
}

const JSON_PLAIN = Buffer.from('json/plain').toString('base64');

/** Identities and sticky queues: process and host, at which replay does not look. */
const MACHINE = /^\d+@.+/u;

/** Texts pack better as they are. */
function packed(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(MACHINE, 'golden');
  if (isPayload(value) && 'data' in value) {
    const { data, ...others } = value;
    return { ...others, text: Buffer.from(String(data), 'base64').toString('utf8') };
  }
  return mapped(value, packed);
}

function unpacked(value: unknown): unknown {
  if (isPayload(value) && 'text' in value) {
    const { text, ...others } = value;
    return { ...others, data: Buffer.from(String(text)).toString('base64') };
  }
  return mapped(value, unpacked);
}

function isPayload(value: unknown): value is Readonly<Record<string, unknown>> {
  const { encoding } = (value as { metadata?: { encoding?: unknown } } | null)?.metadata ?? {};
  return encoding === JSON_PLAIN;
}

function mapped(value: unknown, map: (inner: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(map);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, map(inner)]));
}
