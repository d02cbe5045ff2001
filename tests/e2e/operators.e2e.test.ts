// Operators at work: every verb of the command line on a real server with real workers.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ErrorGroup } from '../../cli/runs/error-groups.ts';
import { isReached } from '../../cli/runs/goals.ts';
import type { PinReport } from '../../cli/runs/pin-report.ts';
import { openDataset } from '../../datasets/index.ts';
import { homePaths, startServer, stopServer } from '../../server/index.ts';
import { freePorts } from './harness/ports.ts';
import { expectAllReplay } from './product/plans.ts';
import { expectNoProcesses, jsonOf, startCli } from './product/cli.ts';
import { controlOf, until, type Control } from './product/control.ts';
import { killAllWorkers } from './product/processes.ts';
import {
  freshRunId,
  markerOf,
  type RunSetting,
  runToEnd,
  specOf,
  startRun,
} from './product/runs.ts';
import { setStage, STAGE_ROWS, STAGE_TILES, type Stage } from './product/stage.ts';

const BRUTE = 'assign/brute-exact@1';
const SCALAR = 'assign/grid-scalar@1';
const WHY = ['--reason', 'because'];
const NASTY = 'bell\u0007 clear\u001b[2J turn\u202eback';

let stage: Stage;
let control: Control;
let digest: string;

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  control = controlOf(stage);
  const worker = await stage.startWorker({ hostId: 'undisturbed' });
  digest = (await runToEnd(stage.client, settingOf('undisturbed', {}))).runDigest;
  await worker.stop();
});
afterEach(killAllWorkers);
afterAll(async () => {
  await expectNoProcesses(stage.home);
  await expectAllReplay(stage);
  await stage.close();
});

function settingOf(name: string, rest: Partial<RunSetting>, on = stage): RunSetting {
  const runId = freshRunId(`operators-${name}`);
  const paths = { dataset: on.dataset, layer: on.layer, sink: on.sink(runId) };
  return { runId, spec: specOf({ ...paths, shards: 2 }), ...rest };
}

/** Some 80 small chunks, slow enough to be met on their way. */
const slow = (name: string, on = stage): RunSetting =>
  settingOf(name, { chunkRows: 2_048, variant: BRUTE }, on);

async function expectSameResult(setting: RunSetting): Promise<void> {
  expect(await markerOf(setting.spec)).toMatchObject({
    ...{ runDigest: digest, tiles: STAGE_TILES, rows: STAGE_ROWS, parkedTiles: 0 },
  });
}

describe('an open run', () => {
  test('is paused, changed, pinned and resumed, with every step told', async () => {
    const setting = slow('verbs');
    const { runId } = setting;
    const worker = await stage.startWorker({ hostId: 'verbs' });
    const run = await startRun(stage.client, setting);
    await control.begun(runId);

    const paused = await control.cli([
      'run',
      'pause',
      runId,
      '--wait',
      '--reason',
      NASTY,
      '-o',
      'jsonl',
    ]);
    expect(paused, paused.stderr).toMatchObject({ code: 0 });
    const [answer, status] = paused.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(answer).toMatchObject({
      schema: 'tileloom.cli.run-pause/1',
      changed: true,
      queued: false,
    });
    expect(status).toMatchObject({ phase: 'running', waitingFor: 'operator' });
    const drained = await control.report(runId);
    expect(drained.pause).toMatchObject({ state: 'drained', shards: 2, acknowledged: 2 });
    const text = await control.cli(['run', 'status', runId]);
    expect(text.stdout).toContain('bell\\u{7} clear\\u{1b}[2J turn\\u{202e}back · drained');
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    expect(text.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/u);

    const { epoch } = await control.ask([
      'run',
      'limits',
      runId,
      '--lanes',
      '1',
      '--chunk-seconds',
      '1s',
    ]);
    const first = ['--if-epoch', String(epoch), ...WHY];
    const set = await control.ask(['pin', 'set', runId, '--variant', SCALAR, ...first]);
    expect(set.pins.length).toBe(1);
    await control.refused(
      ['pin', 'set', runId, '--runtime', 'cpu', ...first],
      'OPERATOR_CONFLICT',
      7,
    );
    const near = ['--variant', 'assign/grid-scaler@1', ...WHY];
    const message = await control.refused(
      ['pin', 'set', runId, ...near],
      'OPERATOR_PIN_IMPOSSIBLE',
      2,
    );
    expect(message).toContain(SCALAR);
    const absent = ['pin', 'set', runId, '--host', 'no-such-host', ...WHY];
    await control.refused(absent, 'OPERATOR_PIN_IMPOSSIBLE', 2);
    const beyond = ['pin', 'set', runId, '--runtime', 'cpu', '--tiles', '0-999', ...WHY];
    await control.refused(beyond, 'OPERATOR_TILES_UNKNOWN', 2);
    await control.refused(['run', 'retry', runId], 'OPERATOR_NOTHING_PARKED', 7);

    const rows = (await control.report(runId)).rows;
    expect(rows).toBe(drained.rows);
    expect((await control.ask(['run', 'resume', runId])).changed).toBe(true);
    expect((await control.ask(['run', 'resume', runId])).changed).toBe(false);
    let pins: readonly PinReport[] = [];
    await until(async () => {
      ({ pins } = jsonOf<{ pins: PinReport[] }>(
        await control.cli(['pin', 'list', runId, '-o', 'json']),
      ));
      return pins.some(({ affected }) => affected.length > 0);
    });
    expect(pins.find(({ value }) => value === SCALAR)?.reason).toBe('because');
    await control.ask(['pin', 'clear', runId, ...set.pins]);
    await control.refused(['pin', 'clear', runId, ...set.pins], 'OPERATOR_PIN_UNKNOWN', 2);
    await control.hurry(runId);

    const waited = await control.cli(['run', 'wait', runId, '-o', 'json', '--timeout', '60s']);
    expect(waited.code, waited.stderr).toBe(0);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
    await control.refused(['run', 'pause', runId], 'CLI_RUN_ENDED', 7);
    await control.refused(['run', 'cancel', runId], 'CLI_RUN_ENDED', 7);
    await control.refused(['run', 'retry', runId], 'OPERATOR_NOTHING_PARKED', 7);
    await control.refused(['run', 'wait', runId, '--for', 'drained'], 'CLI_RUN_ENDED', 7);
  });

  test('resumes by itself when the time of its pause is over', async () => {
    const setting = slow('ttl');
    const worker = await stage.startWorker({ hostId: 'ttl' });
    const run = await startRun(stage.client, setting);
    await control.begun(setting.runId);
    await control.ask(['run', 'pause', setting.runId, '--mode', 'now', '--ttl', '1500ms']);
    await until(async () => (await control.report(setting.runId)).pause?.state === 'drained');
    await until(async () => (await control.report(setting.runId)).pause === null, 5_000);
    await control.hurry(setting.runId);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });

  test('that is cancelled ends as cancelled, and goes on when it is retried', async () => {
    const setting = slow('cancel');
    const { runId } = setting;
    const worker = await stage.startWorker({ hostId: 'cancel' });
    const run = await startRun(stage.client, setting);
    await control.begun(runId);
    expect((await control.ask(['run', 'cancel', runId])).changed).toBe(true);
    await expect(run.result()).rejects.toThrow('cancelled');
    expect((await control.cli(['run', 'cancel', runId])).stdout).toContain(
      'has ended already (cancelled)',
    );
    const done = (await control.report(runId)).counts?.done ?? 0;
    expect(done).toBeGreaterThan(0);
    const again = await control.cli(['run', 'retry', runId, '-o', 'json']);
    expect(jsonOf<object>(again), again.stderr).toMatchObject({ runId, verb: 'retry' });
    expect((await control.cli(['run', 'wait', runId])).code).toBe(0);
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('a run without a worker', () => {
  test('lets a pause wait, refuses the rest without applying it later, and resumes', async () => {
    const setting = slow('alone');
    const { runId } = setting;
    let worker = await stage.startWorker({ hostId: 'alone' });
    const run = await startRun(stage.client, setting);
    await control.begun(runId);
    await worker.kill();
    const brief = ['--timeout', '1s'];
    const limits = ['run', 'limits', runId, '--lanes', '3', ...brief];
    const [queued, message] = await Promise.all([
      control.ask(['run', 'pause', runId, ...brief]),
      control.refused(limits, 'CLI_NO_WORKER', 4),
    ]);
    expect(queued).toMatchObject({ queued: true, epoch: null });
    expect(message).toContain('nothing was applied and nothing will be');
    worker = await stage.startWorker({ hostId: 'alone' });
    await until(async () => (await control.report(runId)).pause?.state === 'drained', 20_000);
    expect(await control.report(runId)).toMatchObject({ epoch: 1, limits: { lanes: 2 } });
    await control.ask(['run', 'resume', runId]);
    await control.hurry(runId);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('a command line that is killed', () => {
  test('in the middle of an update has its request applied once or not at all', async () => {
    const setting = slow('killed');
    const { runId } = setting;
    const worker = await stage.startWorker({ hostId: 'killed' });
    const run = await startRun(stage.client, setting);
    await control.begun(runId);
    await control.send(runId, { verb: 'pause', mode: 'drain', ttlMs: null });
    let { epoch } = await control.report(runId);
    for (const [index, afterMs] of [250, 330, 410, 490].entries()) {
      const lanes = String(3 + index);
      const words = ['run', 'limits', runId, '--lanes', lanes, '--request-id', `kill-${lanes}`];
      const killed = startCli(words, { env: stage.environment, cwd: stage.root });
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      killed.signal('SIGKILL');
      await killed.ended;
      const again = await control.ask(words);
      expect(again.epoch).toBe((epoch ?? 0) + 1);
      expect(await control.report(runId)).toMatchObject({
        epoch: again.epoch,
        limits: { lanes: 3 + index },
      });
      epoch = again.epoch;
    }
    await control.send(runId, { verb: 'resume' });
    await control.hurry(runId);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('fifty requests at random', () => {
  test('leave the result as it is, and start no chunk while the run is paused', async () => {
    const setting = { ...slow('random'), chunkRows: 1_024 };
    const { runId } = setting;
    const worker = await stage.startWorker({ hostId: 'random' });
    const run = await startRun(stage.client, setting);
    await control.begun(runId, 2);
    const quiet: [number, number][] = [];
    let pins: readonly string[] = [];
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    for (let index = 0; index < 50; index += 1) {
      const kind = random(4);
      if (kind < 2) {
        const mode = kind === 0 ? 'drain' : 'now';
        await control.send(runId, { verb: 'pause', mode, ttlMs: null });
        await until(async () => isReached('paused', await control.report(runId)));
        const from = Date.now();
        await new Promise((resolve) => setTimeout(resolve, random(40)));
        quiet.push([from, Date.now()]);
        await control.send(runId, { verb: 'resume' });
      } else if (kind === 2 || pins.length === 0) {
        const firstTile = random(150);
        const scope = { kind: 'tiles', firstTile, lastTile: firstTile + random(4) } as const;
        const value = { aspect: 'variant', value: SCALAR, ifImpossible: 'hold' } as const;
        const wish = { ...value, scope, ttlMs: null, ttlChunks: null, allowAbsent: false };
        const { answer } = await control.send(runId, { verb: 'pin', pins: [wish] });
        pins = [...pins, ...(answer?.pins ?? [])];
      } else {
        await control.send(runId, { verb: 'unpin', ids: pins.slice(0, 1) });
        pins = pins.slice(1);
      }
    }
    await control.hurry(runId);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
    expect(quiet.length).toBeGreaterThan(15);
    const starts = (await control.lines(runId)).flatMap((line) =>
      line.kind === 'execute' ? [line.scheduledAt] : [],
    );
    for (const [from, to] of quiet) {
      expect(starts.filter((at) => from < at && at < to)).toEqual([]);
    }
  });
});

describe('parked tiles', () => {
  const TILES = [20, 90];

  /** Flips a bit of each tile, or flips it back. */
  async function flip(folder: string): Promise<void> {
    const { tileSource } = await openDataset(folder);
    const source = tileSource({ measures: [] });
    for (const tile of TILES) {
      const { path, x } = source.resolve(tile);
      const bytes = readFileSync(path);
      const at = x.dataOffset + 1_234;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    }
    source.close();
  }

  const parkedSetting = (name: string): RunSetting => {
    const setting = settingOf(name, {});
    const dataset = join(stage.root, `points-${name}`);
    cpSync(stage.dataset, dataset, { recursive: true });
    const { spec } = setting;
    const limits = { ...spec.limits, failedTiles: 5 };
    return { ...setting, spec: { ...spec, source: { ...spec.source, dataset }, limits } };
  };

  test('are grouped, skipped and retried after the run has ended', async () => {
    const setting = parkedSetting('parked');
    const { runId, spec } = setting;
    await flip(spec.source.dataset);
    const worker = await stage.startWorker({ hostId: 'parked' });
    await (await startRun(stage.client, setting)).result();
    expect((await markerOf(spec)).parkedTiles).toBe(2);
    const { errors } = jsonOf<{ errors: ErrorGroup[] }>(
      await control.cli(['run', 'errors', runId, '-o', 'json']),
    );
    expect(errors.reduce((sum, { parkedNow }) => sum + parkedNow, 0)).toBe(2);
    const none = ['run', 'skip', runId, '--tiles', '0-999', ...WHY];
    await control.refused(none, 'OPERATOR_TILES_UNKNOWN', 2);

    const skipped = await control.cli([
      'run',
      'skip',
      runId,
      '--tiles',
      '20,90',
      ...WHY,
      '--watch',
      '-o',
      'json',
    ]);
    expect(skipped.code, skipped.stderr + skipped.stdout).toBe(0);
    expect(existsSync(join(spec.sink.path, '_SUCCESS'))).toBe(true);
    expect(existsSync(join(spec.sink.path, '_PARTIAL'))).toBe(false);
    expect(await control.report(runId)).toMatchObject({
      phase: 'finished',
      counts: { parked: 0, skipped: 2 },
    });

    await flip(spec.source.dataset);
    const retried = await control.cli([
      'run',
      'retry',
      runId,
      '--tiles',
      '20-90',
      '--pin',
      `variant=${SCALAR}`,
      ...WHY,
    ]);
    expect(retried.code, retried.stderr).toBe(0);
    expect((await control.cli(['run', 'wait', runId])).code).toBe(0);
    await worker.stop();
    await expectSameResult(setting);
    expect(await markerOf(spec)).toMatchObject({ skippedTiles: 0 });
  });

  test('of an open run are retried and skipped, and wait finds them', async () => {
    const whole = parkedSetting('open');
    const setting = { ...whole, chunkRows: 2_048, variant: BRUTE };
    const { runId, spec } = setting;
    await flip(spec.source.dataset);
    const worker = await stage.startWorker({ hostId: 'open' });
    const run = await startRun(stage.client, setting);
    const parked = await control.cli([
      'run',
      'wait',
      runId,
      '--for',
      'parked',
      '--timeout',
      '60s',
      '-o',
      'json',
    ]);
    expect(parked.code, parked.stderr).toBe(0);
    await flip(spec.source.dataset);
    expect((await control.ask(['run', 'retry', runId])).changed).toBe(true);
    await control.hurry(runId);
    await run.result();
    await worker.stop();
    await expectSameResult(setting);
  });
});

describe('a run that is not ours to change', () => {
  const opened: WorkflowHandle[] = [];
  const open = async (runId: string, type: string, input: object): Promise<void> => {
    const taskQueue = 'nobody';
    const options = { workflowId: `tileloom/${runId}`, taskQueue, args: [input] };
    opened.push(await stage.client.workflow.start(type, options));
  };
  afterAll(async () => {
    await Promise.all(opened.map((handle) => handle.terminate()));
  });

  test('is unknown, foreign or newer, and nothing reaches it', async () => {
    await open('operators-foreign', 'somebodyElses', {});
    await open('operators-newer', 'runWorkflow', { schema: 'tileloom.run-input/2' });
    const verbs = [
      ['run', 'pause'],
      ['run', 'retry'],
      ['pin', 'list'],
      ['run', 'errors'],
    ];
    for (const verb of verbs) {
      await Promise.all([
        control.refused([...verb, 'operators-nobody'], 'CLI_RUN_UNKNOWN', 2),
        control.refused([...verb, 'operators-foreign'], 'CLI_RUN_FOREIGN', 2),
        control.refused([...verb, 'operators-newer'], 'CLI_RUN_NEWER', 7),
      ]);
    }
    await control.refused(['run', 'status', 'operators-foreign'], 'CLI_RUN_FOREIGN', 2);
    for (const handle of opened) {
      const { events } = await handle.fetchHistory();
      expect(events?.length).toBeLessThanOrEqual(2);
    }
  });
});

describe('a server that is started again', () => {
  test('still has the pause, and the run resumes', async () => {
    const { temporalBinary, namespace, ...shared } = inject('temporal');
    const home = mkdtempSync(join(tmpdir(), 'tileloom-operators-'));
    const [port, uiPort] = await freePorts(2);
    const paths = homePaths({
      ...{ TILELOOM_HOME: home, TILELOOM_TEMPORAL_BIN: temporalBinary },
      ...{ TILELOOM_PORT: String(port), TILELOOM_UI_PORT: String(uiPort) },
    });
    const serve = () => startServer({ report: () => undefined, paths, tieToParent: true });
    const server = await serve();
    const own = await setStage({ ...shared, temporalBinary, namespace }, server.address);
    const owned = controlOf(own);
    try {
      const setting = slow('restart', own);
      const worker = await own.startWorker({ hostId: 'restart' });
      const run = await startRun(own.client, setting);
      await owned.begun(setting.runId);
      expect((await owned.ask(['run', 'pause', setting.runId])).changed).toBe(true);
      process.kill(server.pid, 'SIGKILL');
      await serve();
      await until(async () => {
        const { pause } = await owned.report(setting.runId).catch(() => ({ pause: null }));
        return pause?.state === 'drained';
      });
      expect((await owned.ask(['run', 'resume', setting.runId])).changed).toBe(true);
      await owned.hurry(setting.runId);
      await run.result();
      await worker.stop();
      await expectSameResult(setting);
    } finally {
      await own.close();
      await stopServer({ report: () => undefined, paths });
      rmSync(home, { recursive: true, force: true });
    }
  });
});
