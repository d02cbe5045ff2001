import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeLock } from '../../server/file-lock.ts';
import { identityOf } from '../../server/index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('takeLock', () => {
  test('is free again after release', async () => {
    const path = join(folder, 'lock');
    (await takeLock(path, { waitMs: 0 })).release();
    (await takeLock(path, { waitMs: 0 })).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('waits for the holder, and names it when the wait is over', async () => {
    const path = join(folder, 'lock');
    const held = await takeLock(path, { waitMs: 0 });
    await expect(takeLock(path, { waitMs: 60 })).rejects.toMatchObject({
      code: 'SERVER_LOCKED',
      message: expect.stringContaining(`process ${process.pid}`),
    });
    setTimeout(() => held.release(), 60);
    (await takeLock(path, { waitMs: 5_000 })).release();
  });

  test('takes over from a process that was killed', async () => {
    const path = join(folder, 'lock');
    const child = spawn('sleep', ['60']);
    writeFileSync(path, JSON.stringify(identityOf(child.pid ?? 0)));
    await expect(takeLock(path, { waitMs: 0 })).rejects.toMatchObject({ code: 'SERVER_LOCKED' });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    (await takeLock(path, { waitMs: 0 })).release();
  });

  test('takes over a lock whose process id belongs to a later process', async () => {
    const path = join(folder, 'lock');
    writeFileSync(path, JSON.stringify({ pid: process.pid, startTime: '1' }));
    (await takeLock(path, { waitMs: 0 })).release();
  });

  test('takes over a lock file that was cut short', async () => {
    const path = join(folder, 'lock');
    writeFileSync(path, '{"pid":');
    (await takeLock(path, { waitMs: 0 })).release();
  });
});
