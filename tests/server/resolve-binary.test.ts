import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  TEMPORAL_CLI_VERSION,
  homePaths,
  resolveTemporalBinary,
  type ResolverPorts,
} from '../../server/index.ts';

const VERSION_LINE = { code: 0, stdout: 'temporal version 1.5.1 (Server 1.29.1)\n', stderr: '' };

interface World {
  /** Files that are executable Temporal CLIs. */
  readonly temporals: Set<string>;
  /** Files that are executable, but something else. */
  readonly others: Set<string>;
  download: 'works' | 'fails' | 'delivers junk';
  go: 'works' | 'fails' | 'is missing';
  readonly calls: string[];
}

let home: string;
let world: World;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tileloom-resolve-'));
  world = { temporals: new Set(), others: new Set(), download: 'fails', go: 'fails', calls: [] };
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function ports(): ResolverPorts {
  const made = new Set<string>();
  const known = (path: string): boolean =>
    world.temporals.has(path) || [...made].some((folder) => path.startsWith(folder));
  return {
    isExecutable: async (path) => known(path) || world.others.has(path) || inCache(path),
    run: async (command, args, { env, onLine }) => {
      if (command !== 'go') {
        return known(command) ? VERSION_LINE : { code: 0, stdout: 'hello\n', stderr: '' };
      }
      world.calls.push(`go ${args.join(' ')}`);
      if (world.go === 'is missing') throw new Error('go is not installed');
      onLine?.('go: downloading something');
      if (world.go === 'fails') return { code: 1, stdout: '', stderr: 'go: no such module\n' };
      await writeFile(join(env?.['GOBIN'] ?? '', 'temporal'), '');
      made.add(env?.['GOBIN'] ?? '');
      return { code: 0, stdout: '', stderr: '' };
    },
    download: async (version, folder, onLine) => {
      world.calls.push(`download ${version}`);
      if (world.download === 'fails') throw new Error('temporal.download cannot be reached');
      onLine('10 % of 100 MB');
      await writeFile(join(folder, 'temporal'), '');
      if (world.download === 'works') made.add(folder);
    },
  };
}

const inCache = (path: string): boolean => path === cached() && existsSync(path);

const cached = (): string => join(home, 'cache', 'temporal', TEMPORAL_CLI_VERSION, 'temporal');

function resolve(more: Record<string, string> = {}): {
  result: Promise<string>;
  steps: string[];
} {
  const environment = { TILELOOM_HOME: home, PATH: '/opt/a:/opt/b', ...more };
  const steps: string[] = [];
  const result = resolveTemporalBinary({
    report: ({ step, message }) => steps.push(`${step}: ${message}`),
    paths: homePaths(environment),
    environment,
    ports: ports(),
  });
  return { result, steps };
}

describe('resolveTemporalBinary', () => {
  test('takes the configured binary before all others', async () => {
    world.temporals.add('/mine/temporal').add('/opt/a/temporal');
    const { result } = resolve({ TILELOOM_TEMPORAL_BIN: '/mine/temporal' });
    expect(await result).toBe('/mine/temporal');
  });

  test('refuses a configured path that is no Temporal CLI', async () => {
    world.others.add('/mine/temporal');
    const { result } = resolve({ TILELOOM_TEMPORAL_BIN: '/mine/temporal' });
    await expect(result).rejects.toMatchObject({ code: 'SERVER_BINARY_UNUSABLE' });
  });

  test('takes the first temporal on PATH that is the Temporal CLI', async () => {
    world.others.add('/opt/a/temporal');
    world.temporals.add('/opt/b/temporal');
    expect(await resolve().result).toBe('/opt/b/temporal');
    expect(world.calls).toEqual([]);
  });

  test('downloads into the cache, then takes it from there', async () => {
    world.download = 'works';
    const first = resolve();
    expect(await first.result).toBe(cached());
    expect(first.steps.join('\n')).toContain('10 % of 100 MB');
    const second = resolve();
    expect(await second.result).toBe(cached());
    expect(world.calls).toEqual([`download ${TEMPORAL_CLI_VERSION}`]);
  });

  test('builds with go when the download does not work', async () => {
    world.go = 'works';
    const { result, steps } = resolve();
    expect(await result).toBe(cached());
    expect(steps.join('\n')).toMatch(/download did not work.*\n.*building[^]*go: downloading/u);
    expect(world.calls.at(-1)).toBe(
      `go install github.com/temporalio/cli/cmd/temporal@${TEMPORAL_CLI_VERSION}`,
    );
  });

  test('does not keep a download that does not run', async () => {
    world.download = 'delivers junk';
    world.go = 'works';
    expect(await resolve().result).toBe(cached());
    expect(world.calls).toHaveLength(2);
  });

  test('says what to do when every step fails, and leaves nothing half done', async () => {
    world.go = 'is missing';
    await expect(resolve().result).rejects.toMatchObject({
      code: 'SERVER_BINARY_UNAVAILABLE',
      message: expect.stringMatching(/download: .*go install: go is not installed.*install/u),
    });
    expect(readdirSync(join(home, 'cache', 'temporal'))).toEqual([TEMPORAL_CLI_VERSION]);
    expect(readdirSync(join(home, 'cache', 'temporal', TEMPORAL_CLI_VERSION))).toEqual([]);
  });
});
