// Owns how a result file becomes visible: written under a temporary name, fsynced, renamed, folder fsynced.
import { createHash } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { isEngineError } from '../../core/index.ts';
import { syncFolder, temporaryName } from '../durable.ts';
import { fileError } from '../errors.ts';

export type Chunks = Iterable<Uint8Array | string>;

/** A written file as the manifest names it. */
export interface WrittenResult {
  /** Base name, in the folder that was asked for. */
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** Writes chunks under a temporary name, then makes them visible at once. */
export async function writeAtomically(file: string, chunks: Chunks): Promise<WrittenResult> {
  const temporary = temporaryName(file);
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const handle = await open(temporary, 'wx');
    try {
      for (const chunk of chunks) {
        const data = typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk;
        hash.update(data);
        bytes += data.length;
        await handle.writeFile(data);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    await syncFolder(path.dirname(file));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    if (isEngineError(error)) throw error;
    throw fileError(error, 'writing', file);
  }
  return { file: path.basename(file), sha256: hash.digest('hex'), bytes };
}
