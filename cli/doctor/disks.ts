// Owns how much room the disks have that a command writes to.
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface Disk {
  /** Those of the folders asked about that lie, or would lie, on it. */
  readonly folders: readonly string[];
  readonly freeBytes: number;
}

/** The disks of some absolute paths; one that is not there yet would be made on its ancestor's disk. */
export async function readDisks(folders: readonly string[]): Promise<readonly Disk[]> {
  const disks = new Map<number, Disk>();
  for (const folder of folders) {
    const { path, device } = await nearestExisting(folder);
    const known = disks.get(device);
    const freeBytes = known?.freeBytes ?? (await freeBytesOf(path));
    disks.set(device, { folders: [...(known?.folders ?? []), folder], freeBytes });
  }
  return [...disks.values()];
}

async function nearestExisting(path: string): Promise<{ path: string; device: number }> {
  try {
    return { path, device: (await stat(path)).dev };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (!['ENOENT', 'ENOTDIR'].includes(code) || dirname(path) === path) throw error;
    return await nearestExisting(dirname(path));
  }
}

async function freeBytesOf(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
