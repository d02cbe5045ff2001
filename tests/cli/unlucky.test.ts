// Unlucky and hostile use that needs no server: what the system refuses, binary input, Ctrl-C.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProgress } from '../../cli/progress.ts';
import { interruptible } from '../../cli/io.ts';
import { recordingIo, runCli } from './fake-io.ts';

const CORPUS = fileURLToPath(new URL('../fixtures/corpus/', import.meta.url));
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-unlucky-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const env = (home: string): Record<string, string> => ({ TILELOOM_HOME: home, TILELOOM_PORT: '1' });

describe('what the operating system refuses', () => {
  test('names the path when TILELOOM_HOME is a file', async () => {
    const home = join(folder, 'a-file');
    writeFileSync(home, '');
    const { code, stderr } = await runCli(['server', 'start'], { env: env(home) });
    expect(stderr).toMatch(/^CLI_IO_FAILED: .*a-file\/state\/server cannot be used: .*ENOTDIR/);
    expect(code).toBe(2);
  });

  test('names the path when it may not write there', async () => {
    if (process.getuid?.() === 0) {
      return;
    }
    const home = join(folder, 'read-only');
    mkdirSync(home);
    chmodSync(home, 0o500);
    const { code, stderr } = await runCli(['server', 'start'], { env: env(home) });
    expect(stderr).toMatch(/^CLI_IO_FAILED: .*EACCES/);
    expect(code).toBe(4);
  });

  test('is told before a worker starts when a root is missing', async () => {
    const missing = join(folder, 'missing');
    const { code, stderr } = await runCli(['worker', 'start', '--roots', missing]);
    expect(stderr).toContain(`CLI_PATH_MISSING: root ${missing} cannot be used`);
    expect(code).toBe(2);
  });
});

describe('a binary file in the place of a spec', () => {
  test('does not reach the terminal as control characters', async () => {
    const file = join(folder, 'binary.yaml');
    writeFileSync(file, 'a: \u001b[2J\u0007\u0000: b\n');
    const { code, stderr } = await runCli(['spec', 'validate', file]);
    expect(code).toBe(2);
    expect(stderr).toContain('binary.yaml:1');
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    expect(stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
  });
});

describe('a run id that cannot be one', () => {
  test.each([
    ['run', 'status'],
    ['run', 'watch'],
    ['run', 'clean'],
    ['plan', 'list'],
  ])('is refused by %s %s before any server is asked', async (...words) => {
    const { code, stderr } = await runCli([...words, '../../etc/passwd']);
    expect(stderr).toContain('CLI_USAGE: "../../etc/passwd" is no run id');
    expect(code).toBe(2);
  });
});

describe('an empty Temporal config file', () => {
  test('means that no profile is configured', async () => {
    const file = join(folder, 'temporal.toml');
    writeFileSync(file, '');
    const { code, stderr } = await runCli(['run', 'list'], {
      env: { ...env(join(folder, 'home')), TEMPORAL_CONFIG_FILE: file },
    });
    expect(stderr).toContain('SERVER_NOT_RUNNING');
    expect(code).toBe(4);
  });
});

describe('Ctrl-C under a progress display', () => {
  test('clears the display first, so that the message stays', async () => {
    const recorded = recordingIo({ stderrIsTty: true, columns: 40 });
    const state = { label: 'run', done: 1, total: 2, unit: 'rows', detail: null, waiting: null };
    await interruptible(recorded.io, 'detached', async (signal) => {
      const progress = createProgress(recorded.io, signal);
      progress.update(state);
      recorded.interrupt();
      progress.update({ ...state, done: 2 });
      await Promise.resolve();
    });
    expect(recorded.stderr().endsWith('\u001b[1A\u001b[0J\ndetached\n')).toBe(true);
    const [head = ''] = recorded.stderr().split('\n');
    expect(head.length).toBeLessThan(40);
  });
});

describe('variant verify', () => {
  const first = (file: string, lines: number): string =>
    readFileSync(join(CORPUS, file), 'utf8').split('\n').slice(0, lines).join('\n');
  const corpus = (name: string, orientation: (text: string) => string): string => {
    const path = join(folder, name);
    mkdirSync(path);
    writeFileSync(join(path, 'orientation.jsonl'), orientation(first('orientation.jsonl', 30)));
    for (const [file, lines] of [
      ['point-in-polygon.jsonl', 3],
      ['sums.jsonl', 30],
    ] as const) {
      writeFileSync(join(path, file), first(file, lines));
    }
    return path;
  };
  const verify = (path: string): ReturnType<typeof runCli> =>
    runCli(['variant', 'verify', 'assign/grid-scalar@1', '--corpus', path]);

  test('ends with 0 when a variant agrees', async () => {
    const { code, stdout } = await verify(corpus('right', (text) => text));
    expect(stdout).toMatch(/assign\/grid-scalar@1 +agrees +30 /);
    expect(code).toBe(0);
  });

  test('ends with 1 and shows the answers that differ', async () => {
    const wrong = corpus('wrong', (text) => text.replaceAll(/"sign": ?1/g, '"sign":-1'));
    const { code, stdout } = await verify(wrong);
    expect(stdout).toMatch(/assign\/grid-scalar@1 +wrong/);
    expect(stdout).toContain('sign differs: expected -1, got 1');
    expect(code).toBe(1);
  });

  test.each([
    ['is not there', (): string => join(folder, 'no-corpus')],
    ['is no JSON', (): string => corpus('broken', (text) => text.slice(0, 50))],
  ])('says what to do when the corpus %s', async (_what, path) => {
    const { code, stderr } = await verify(path());
    expect(stderr).toContain('CLI_FILE_UNREADABLE: corpus ');
    expect(stderr).toContain('--corpus');
    expect(code).toBe(2);
  });
});
