import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import {
  connectionSettings,
  homePaths,
  identityOf,
  isAlive,
  serverStatus,
  signalProcess,
  startServer,
  stopServer,
  type HomePaths,
} from '../../server/index.ts';
import { freePorts } from '../e2e/harness/ports.ts';

const report = (): void => undefined;
let home: string;
let paths: HomePaths;
let environment: Record<string, string>;

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'tileloom-server-'));
  const [port, uiPort] = await freePorts(2);
  environment = {
    TILELOOM_HOME: home,
    TILELOOM_TEMPORAL_BIN: inject('temporal').temporalBinary,
    TILELOOM_PORT: String(port),
    TILELOOM_UI_PORT: String(uiPort),
  };
  paths = homePaths(environment);
});
afterEach(async () => {
  await stopServer({ report, paths, graceMs: 3_000 });
  rmSync(home, { recursive: true, force: true });
});

async function retentionDays(address: string): Promise<number> {
  const connection = await Connection.connect({ address });
  const { config } = await connection.workflowService.describeNamespace({ namespace: 'default' });
  await connection.close();
  return Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) / 86_400;
}

describe('startServer', () => {
  test('starts once for callers at the same time, keeps its data, and stops cleanly', async () => {
    const start = (): ReturnType<typeof startServer> =>
      startServer({ report, paths, tieToParent: true });
    const started = await Promise.all([start(), start(), start()]);
    const pids = new Set(started.map(({ pid }) => pid));
    expect(pids.size).toBe(1);
    expect(started.filter(({ alreadyRunning }) => !alreadyRunning)).toHaveLength(1);
    const server = identityOf(started[0].pid);
    expect((await serverStatus(paths)).state).toBe('serving');
    expect(await retentionDays(started[0].address)).toBe(30);
    expect(await stopServer({ report, paths })).toBe(server.pid);
    expect(isAlive(server)).toBe(false);
    expect((await serverStatus(paths)).state).toBe('stopped');
    expect(await stopServer({ report, paths })).toBeNull();
    const again = await start();
    expect(await retentionDays(again.address)).toBe(30);
  });

  test('goes on after its process was killed and its files were left behind', async () => {
    const first = await startServer({ report, paths, tieToParent: true });
    signalProcess(identityOf(first.pid), 'SIGKILL');
    writeFileSync(join(paths.server, 'server.lock'), JSON.stringify({ pid: 1, startTime: '0' }));
    const second = await startServer({ report, paths, tieToParent: true });
    expect(second.pid).not.toBe(first.pid);
    expect(second.alreadyRunning).toBe(false);
  });

  test('names the port that is taken and who has it', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(paths.port, '127.0.0.1', resolve));
    try {
      await expect(startServer({ report, paths })).rejects.toMatchObject({
        code: 'SERVER_PORT_TAKEN',
        details: { port: paths.port, ownerPid: process.pid },
      });
      expect((await serverStatus(paths)).state).toBe('stopped');
    } finally {
      await new Promise((resolve) => blocker.close(resolve));
    }
  });

  test('tied to its parent, ends when the parent is killed', async () => {
    const pidFile = join(home, 'pid');
    const code = `
      import { writeFileSync } from 'node:fs';
      const { tieToThisProcess } = await import(process.argv[1]);
      const { spawn } = await import('node:child_process');
      const sleeper = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
      const stat = (await import('node:fs')).readFileSync('/proc/' + sleeper.pid + '/stat', 'utf8');
      tieToThisProcess({ pid: sleeper.pid, startTime: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] });
      writeFileSync(process.argv[2], String(sleeper.pid));
      setInterval(() => undefined, 1000);
    `;
    const module = join(home, 'watchdog.mjs');
    const source = readFileSync(new URL('../../server/watchdog.ts', import.meta.url), 'utf8');
    // The module's only types are those of its one function: cut them, since node runs no
    // TypeScript.
    writeFileSync(
      module,
      source
        .replace(/^import type .*$/mu, '')
        .replace('(server: ProcessIdentity): void', '(server)')
        .replace('(child.stdin as unknown as { unref(): void })', 'child.stdin'),
    );
    const args = ['--input-type=module', '-e', code, '--', module, pidFile];
    const parent = spawn(process.execPath, args, { stdio: 'inherit' });
    const sleeper = await untilValue(() => Number(readFileSync(pidFile, 'utf8')) || null);
    const identity = identityOf(sleeper);
    expect(isAlive(identity)).toBe(true);
    parent.kill('SIGKILL');
    await untilValue(() => (isAlive(identity) ? null : true));
  });
});

describe('connectionSettings', () => {
  test('says what to run when there is no service', async () => {
    const request = { startEmbedded: false, report, environment };
    await expect(connectionSettings(request)).rejects.toMatchObject({
      code: 'SERVER_NOT_RUNNING',
      message: expect.stringContaining('tileloom server start'),
    });
  });

  test('starts the embedded server on demand, and finds it afterwards', async () => {
    const request = { report, environment, tieToParent: true };
    const settings = await connectionSettings({ ...request, startEmbedded: true });
    expect(settings).toMatchObject({ kind: 'embedded', namespace: 'default' });
    const found = await connectionSettings({ ...request, startEmbedded: false });
    expect(found.address).toBe(settings.address);
  });

  test('uses a configured profile instead, and starts nothing', async () => {
    const { address } = inject('temporal');
    const settings = await connectionSettings({
      startEmbedded: true,
      report,
      environment: { ...environment, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: 'default' },
    });
    expect(settings).toMatchObject({ kind: 'profile', address, searchAttributes: true });
    expect((await serverStatus(paths)).state).toBe('stopped');
    const connection = await Connection.connect(settings.connectionOptions);
    await connection.close();
  });
});

async function untilValue<Value>(read: () => Value | null): Promise<Value> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    let value: Value | null = null;
    try {
      value = read();
    } catch {
      // not there yet
    }
    if (value !== null) return value;
    if (performance.now() > deadline) throw new Error('waited 15 s in vain');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
