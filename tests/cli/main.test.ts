import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rm } from 'node:fs/promises';
import { parseSpec } from '../../spec/index.ts';
import { MINIMAL } from '../spec/fixtures.ts';
import { runCli } from './fake-io.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tileloom-cli-'));
  await writeFile(join(folder, 'good.yaml'), MINIMAL);
  await writeFile(join(folder, 'bad.yaml'), MINIMAL.replace('as: area', 'ass: area'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('help', () => {
  test('shows examples first, then every command', async () => {
    const { code, stdout, stderr } = await runCli(['--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toMatchInlineSnapshot(`
      "Start here:
        $ tileloom demo                              see a whole run, nothing needed
        $ tileloom spec init > pipeline.yaml         write your own pipeline
        $ tileloom run start pipeline.yaml --with-worker --watch

      Usage: tileloom [options] [command]

      Durable, adaptive execution of long tiled spatial pipelines.

      Options:
        -V, --version                 print the version
        -h, --help                    display help for command

      Commands:
        demo [options]                Run real cities and synthetic points against US counties, start to
                                      end, on this machine.
        server                        Run the embedded Temporal server.
        worker                        Give this machine to runs.
        dataset                       Make tiled datasets and look into them.
        spec                          Write and check pipelines.
        run                           Start runs, see how they do, and control them.
        pin                           Fix what plans of an open run may choose.
        plan                          See what was planned, and why.
        variant                       See and prove the kernel variants.
        device                        See the devices of this machine.
        doctor [options]              Check this machine: versions, compiler, server, disk, memory,
                                      devices.
        completion [options] <shell>  Print a completion script for a shell.
        help [command]                show how a command is used
      "
    `);
  });

  test('of a command begins with its examples', async () => {
    const { code, stdout } = await runCli(['run', 'wait', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatchInlineSnapshot(`
      "Examples:
        $ tileloom run wait RUN --timeout 2h && echo done
        $ tileloom run wait RUN --for drained --timeout 5m

      Usage: tileloom run wait [options] <run>

      Wait silently until the run is as asked; the exit code tells how it came out.

      Arguments:
        run                    run id, as run start printed it

      Options:
        --for <state>          what to wait for (choices: "finished", "drained", "paused", "parked",
                               default: "finished")
        --timeout <duration>   give up after this long, with exit code 6
        -o, --output <format>  format of stdout (choices: "text", "json", "jsonl", default: "text")
        --verbose              show stack traces and more messages
        -h, --help             display help for command
      "
    `);
  });

  test('prints the version of package.json', async () => {
    expect((await runCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('usage errors', () => {
  test.each([
    [['bogus'], "CLI_USAGE: unknown command 'bogus'"],
    [['run', 'strat', 'x'], "unknown command 'strat' (Did you mean start?)"],
    [['run', 'status'], "missing required argument 'run'"],
    [['run', 'list', '--limt', '3'], "unknown option '--limt' (Did you mean --limit?)"],
    [['run', 'list', '--limit', 'few'], 'expected a whole number from 1 to'],
    [['spec', 'schema', '-o', 'xml'], "argument 'xml' is invalid"],
    [['run', 'wait', 'x', '--timeout', 'soon'], 'expected a duration such as 30s'],
    [['completion', 'tcsh'], 'CLI_USAGE: shell tcsh is not supported'],
    [['variant', 'show', 'assign/grid-avx@1'], 'did you mean assign/grid-avx2@1?'],
    [['dataset', 'convert', 'a.parquet'], 'expected --out FOLDER'],
    [['run', 'pause', 'x', '--ttl', '99999999999999h'], 'expected a duration of at most'],
    [
      ['run', 'pause', 'x', '--ttl', '36500d'],
      'OPERATOR_REQUEST_INVALID: the request is not valid',
    ],
    [['run', 'pause', 'x', '--ttl', '0s'], 'OPERATOR_REQUEST_INVALID: the request is not valid'],
    [['run', 'limits', 'x'], 'no limit is given'],
    [['run', 'limits', 'x', '--memory', 'much'], 'expected a size with a unit'],
    [['run', 'limits', 'x', '--cadence', '0'], 'expected every-chunk or a whole number'],
    [['run', 'retry', 'x', '--tiles', '7-3'], 'expected ranges such as 3-7,9'],
    [['run', 'skip', 'x', '--reason', 'r'], 'expected --tiles or --fingerprint'],
    [['run', 'skip', 'x', '--tiles', '1'], "required option '--reason <text>' not specified"],
    [['pin', 'set', 'x', '--reason', 'r'], 'expected at least one of --variant'],
    [['pin', 'set', 'x', '--runtime', 'cpu'], "required option '--reason <text>' not specified"],
    [['pin', 'clear', 'x'], 'expected ids or --all, got neither'],
    [['pin', 'clear', 'x', 'p', '--all'], 'expected ids or --all, got both'],
  ])('%j exits with 2 and says what to do', async (words, message) => {
    const { code, stdout, stderr } = await runCli(words);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('a group without a verb shows its help on stderr and exits with 2', async () => {
    const { code, stdout, stderr } = await runCli(['run']);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Usage: tileloom run');
  });

  test('are one JSON object in json mode', async () => {
    const { code, stderr } = await runCli(['run', 'list', '--limit', '0', '-o', 'json']);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({
      schema: 'tileloom.cli.error/1',
      code: 'CLI_USAGE',
      retryable: false,
    });
  });
});

describe('spec validate', () => {
  test('prints the digest that the spec room computes', async () => {
    const { code, stdout } = await runCli(['spec', 'validate', 'good.yaml', '-o', 'json'], {
      cwd: folder,
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'tileloom.cli.spec-validate/1',
      valid: true,
      specDigest: parseSpec(MINIMAL, { file: 'x' }).digest,
    });
  });

  test('shows every problem with its place and exits with 2', async () => {
    const { code, stdout, stderr } = await runCli(['spec', 'validate', 'bad.yaml'], {
      cwd: folder,
    });
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatchInlineSnapshot(`
      "bad.yaml:7:5: SPEC_MISSING_KEY: key "as" is missing in steps[0].assign: expected text, got nothing; add it
        |
      7 |   - assign: { layer: areas, ass: area }
        |     ^^^^^^

      bad.yaml:7:29: SPEC_UNKNOWN_KEY: key "ass" is unknown in steps[0].assign: expected one of layer, as, boundary, overlap; did you mean as?
        |
      7 |   - assign: { layer: areas, ass: area }
        |                             ^^^

      SPEC_INVALID: 2 problems in the spec
      "
    `);
  });

  test('lists problems as JSON', async () => {
    const { stderr } = await runCli(['spec', 'validate', 'bad.yaml', '-o', 'json'], {
      cwd: folder,
    });
    const error = JSON.parse(stderr) as { problems: { code: string; line: number }[] };
    expect(error.problems.map((problem) => problem.code)).toEqual([
      'SPEC_MISSING_KEY',
      'SPEC_UNKNOWN_KEY',
    ]);
  });

  test('names a file that is not there', async () => {
    const { code, stderr } = await runCli(['spec', 'validate', 'none.yaml'], { cwd: folder });
    expect(code).toBe(2);
    expect(stderr).toBe(
      'CLI_FILE_UNREADABLE: spec none.yaml cannot be read: expected a readable file, got ENOENT; ' +
        'check the path\n',
    );
  });

  test('adds a trace only with --verbose', async () => {
    const words = ['spec', 'validate', 'none.yaml', '--verbose'];
    expect((await runCli(words, { cwd: folder })).stderr).toMatch(/\n\s+at /);
  });
});

describe('commands that need the server', () => {
  test.each([
    [['run', 'list']],
    [['run', 'status', 'x']],
    [['run', 'wait', 'x']],
    [['plan', 'list', 'x']],
    [['run', 'cancel', 'x']],
    [['run', 'pause', 'x']],
    [['run', 'limits', 'x', '--lanes', '2']],
    [['run', 'retry', 'x']],
    [['run', 'errors', 'x']],
    [['pin', 'set', 'x', '--runtime', 'cpu', '--reason', 'why']],
    [['pin', 'list', 'x']],
    [['pin', 'clear', 'x', '--all']],
    [['run', 'clean', 'x']],
  ])('%j exits with 4 when there is none', async (words) => {
    const { code, stdout, stderr } = await runCli(words);
    expect(code).toBe(4);
    expect(stdout).toBe('');
    expect(stderr).toContain('tileloom server start');
  });

  test('exit with 4 when a configured service does not answer', async () => {
    const { code, stderr } = await runCli(['run', 'list'], {
      env: {
        PATH: process.env['PATH'],
        TEMPORAL_ADDRESS: '127.0.0.1:1',
      },
    });
    expect(code).toBe(4);
    expect(stderr).toContain('CLI_SERVER_UNREACHABLE');
  }, 20_000);

  test('server status tells that it is stopped, as data, with exit code 4', async () => {
    const { code, stdout } = await runCli(['server', 'status', '-o', 'json']);
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'tileloom.cli.server-status/1',
      state: 'stopped',
    });
  });
});

describe('json output', () => {
  test.each([
    [['spec', 'init']],
    [['spec', 'schema']],
    [['variant', 'list']],
    [['variant', 'show', 'assign/grid-scalar@1']],
    [['device', 'list']],
    [['device', 'snapshot']],
    [['completion', 'bash']],
  ])('of %j is one document with a schema', async (words) => {
    const { code, stdout, stderr } = await runCli([...words, '-o', 'json']);
    expect([code, stderr]).toEqual([0, '']);
    expect((JSON.parse(stdout) as { schema: string }).schema).toMatch(
      /^tileloom\.cli\.[a-z-]+\/\d+$/,
    );
  });

  test('of a list in jsonl has a schema on every line', async () => {
    const { stdout } = await runCli(['variant', 'list', '-o', 'jsonl']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({ schema: 'tileloom.cli.variant-list-item/1' });
    }
  });

  test('of doctor says what to do about everything that is not ok', async () => {
    const { stdout } = await runCli(['doctor', '-o', 'json'], { cwd: folder });
    const { findings } = JSON.parse(stdout) as {
      findings: { check: string; status: string; fix: string | null }[];
    };
    expect(findings.map((finding) => finding.check)).toContain('native library');
    expect(findings.filter((one) => (one.status === 'ok') !== (one.fix === null))).toEqual([]);
  });
});

describe('dataset make and inspect', () => {
  test('write a small dataset, describe it and refuse to overwrite it', async () => {
    const words = ['dataset', 'make', 'points', '--rows', '1_000', '--threads', '1'];
    const made = await runCli([...words, '-o', 'json'], { cwd: folder });
    expect(made.code).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({ rows: 1000, tiles: 1 });
    const again = await runCli(words, { cwd: folder });
    expect(again.code).toBe(2);
    expect(again.stderr).toMatch(/^DATASET_EXISTS: /);
    const inspected = await runCli(['dataset', 'inspect', 'points', '--verify', '-o', 'json'], {
      cwd: folder,
    });
    expect(inspected.code).toBe(0);
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      schema: 'tileloom.cli.dataset-inspect/1',
      verified: { problemCount: 0 },
    });
  });
});
