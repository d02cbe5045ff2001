// Owns the download of the Temporal CLI's release archive from the address that its documentation
// gives.
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { pipeline } from 'node:stream/promises';
import { runCommand } from './run-command.ts';

const ARCHIVE_URL = 'https://temporal.download/cli/archive';
const HEADERS_MS_MAX = 15_000;
const WHOLE_MS_MAX = 10 * 60_000;
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Fetches the archive of a version and unpacks its `temporal` binary into a folder.
 *
 * @throws {Error} with one sentence, when there is no network, no such archive, or no tar
 */
export async function downloadArchive(
  version: string,
  folder: string,
  onLine: (line: string) => void,
): Promise<void> {
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) throw new Error(`no release for ${process.arch}`);
  const url = `${ARCHIVE_URL}/${version}?platform=linux&arch=${architecture}`;
  const response = await fetchHeaders(url);
  const archive = join(folder, 'archive.tar.gz');
  const total = Number(response.headers.get('content-length') ?? 0);
  if (response.body === null) throw new Error(`${url} answered without a body`);
  await pipeline(
    Readable.fromWeb(response.body as ReadableStream),
    progress(total, onLine),
    createWriteStream(archive),
  );
  const { code, stderr } = await runCommand('tar', ['-xzf', archive, '-C', folder, 'temporal'], {});
  await rm(archive, { force: true });
  if (code !== 0) throw new Error(`archive cannot be unpacked: ${stderr.trim()}`);
}

/** The head must come soon; the body may take its time. */
async function fetchHeaders(url: string): Promise<Response> {
  const controller = new AbortController();
  const whole = setTimeout(() => controller.abort(), WHOLE_MS_MAX);
  whole.unref();
  const head = setTimeout(() => controller.abort(), HEADERS_MS_MAX);
  try {
    const response = await fetch(url, { signal: controller.signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return response;
  } catch (error) {
    const { cause } = error as { cause?: { code?: string } };
    throw new Error(`${new URL(url).host} cannot be reached (${cause?.code ?? String(error)})`, {
      cause: error,
    });
  } finally {
    clearTimeout(head);
  }
}

/** Passes bytes through and tells every tenth part of the whole. */
function progress(total: number, onLine: (line: string) => void): Transform {
  let bytes = 0;
  let tenths = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      const now = total > 0 ? Math.floor((bytes * 10) / total) : 0;
      if (now > tenths) onLine(`${now * 10} % of ${Math.round(total / 1e6)} MB`);
      tenths = Math.max(tenths, now);
      done(null, chunk);
    },
  });
}
