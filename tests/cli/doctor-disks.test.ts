// Which disks doctor measures: those that a command would write to.
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readDisks } from '../../cli/doctor/disks.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-disks-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('a folder that is not there yet is measured by its nearest ancestor', async () => {
  const [disk, ...more] = await readDisks([join(folder, 'a', 'b'), folder]);
  expect(more).toEqual([]);
  expect(disk?.folders).toEqual([join(folder, 'a', 'b'), folder]);
  expect(disk?.freeBytes).toBeGreaterThan(0);
});

test('a path below a file is measured by the disk of the file', async () => {
  writeFileSync(join(folder, 'file'), '');
  expect(await readDisks([join(folder, 'file', 'below')])).toHaveLength(1);
});

test('folders on other disks are told apart', async () => {
  const disks = await readDisks(['/proc', folder]);
  expect(disks.map(({ folders }) => folders)).toEqual([['/proc'], [folder]]);
  const { bsize, blocks } = statfsSync('/proc');
  expect(disks[0]?.freeBytes).toBe(bsize * blocks);
});
