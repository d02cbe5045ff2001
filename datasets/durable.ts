// Owns how files become visible: written under a temporary name, fsynced, renamed, folder fsynced.
// A crash leaves either nothing or the whole file, never a torn one; leftovers end in `.tmp`.
import { randomBytes } from 'node:crypto';
import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from './errors.ts';

export const TEMPORARY_SUFFIX = '.tmp';

/**
 * Name beside `file` that no other process uses; it is recognised by its suffix and may be deleted.
 */
export function temporaryName(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}${TEMPORARY_SUFFIX}`;
}

/** Writes a whole small file atomically, replacing an older one. */
export async function writeFileDurable(file: string, content: string | Uint8Array): Promise<void> {
  const temporary = temporaryName(file);
  try {
    await writeAndSync(temporary, content);
    await rename(temporary, file);
    await syncFolder(path.dirname(file));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw fileError(error, 'writing', file);
  }
}

/**
 * Writes a whole small file only if the name is free; whoever comes second sees the first one's
 * bytes.
 *
 * @returns false when the name was taken
 */
export async function writeFileExclusive(
  file: string,
  content: string | Uint8Array,
): Promise<boolean> {
  const temporary = temporaryName(file);
  try {
    await writeAndSync(temporary, content);
    // link() fails when the name exists, rename() would replace it.
    await link(temporary, file);
    await syncFolder(path.dirname(file));
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'EEXIST') return false;
    throw fileError(error, 'writing', file);
  } finally {
    await unlink(temporary).catch(() => undefined);
  }
}

/** Makes renames and creations in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeAndSync(file: string, content: string | Uint8Array): Promise<void> {
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, 'wx');
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle?.close();
  }
}
