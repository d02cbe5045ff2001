import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { initialOperator } from '../../operator/index.ts';
import { formatBytes, formatDuration, formatShort, formatTable } from '../../cli/format.ts';
import { interruptible } from '../../cli/io.ts';
import { RateMeter, createProgress } from '../../cli/progress.ts';
import { followRun } from '../../cli/runs/follow.ts';
import { operatorPins, parsePin } from '../../cli/runs/pins.ts';
import { makeRunId } from '../../cli/runs/start.ts';
import { combine } from '../../cli/runs/combine.ts';
import type { RunReport } from '../../cli/runs/report.ts';
import { isRunId } from '../../cli/runs/local-runs.ts';
import { runLines, type HistorySource, type LinkEvent } from '../../cli/history/source.ts';
import { chunkRows } from '../../cli/history/chunks.ts';
import type { LaneStatus, RunStatus, ShardStatus } from '../../workflows/messages.ts';
import { recordingIo } from './fake-io.ts';

const STATUS: RunStatus = {
  schema: 'tileloom.run-status/1',
  runId: 'r',
  name: 'n',
  phase: 'running',
  epoch: 0,
  operator: initialOperator([], {
    ...{ lanes: 2, chunkSecondsTarget: 2, memoryBytesMax: 2 ** 30 },
    ...{ cadence: 'every-chunk', failedTiles: 0 },
  }),
  pausedMs: 0,
  startedAt: 0,
  finishedAt: null,
  tiles: 100,
  rows: 1000,
  openShards: [{ shard: 0, workflowId: 's0' }],
  closed: { tilesDone: 10, rowsDone: 100, parked: 1, skipped: 0 },
  sink: '/out',
  published: null,
  error: null,
  waiting: null,
};

const SHARD: ShardStatus = {
  schema: 'tileloom.shard-status/1',
  shard: 0,
  range: { firstTile: 11, endTile: 60 },
  epoch: 0,
  counts: {
    ...{ chunks: 3, plans: 3, superseded: 0, failures: 0, tilesDone: 20, rowsDone: 200 },
    ...{ hits: 0, outside: 0, invalid: 0, kernelSeconds: 0, workSeconds: 0 },
  },
  tilesRunning: 7,
  parked: 2,
  skipped: 0,
  pinUses: {},
  lanes: [],
  head: null,
};

describe('combine', () => {
  test('adds closed and open shards up', () => {
    const facts = combine(STATUS, [SHARD], 10_000);
    expect(facts.counts).toEqual({
      total: 100,
      pending: 60,
      running: 7,
      done: 30,
      parked: 3,
      skipped: 0,
    });
    expect(facts).toMatchObject({ rows: 300, rowsPerSecond: 30, waiting: null });
    expect(facts.etaSeconds).toBeCloseTo(700 / 30);
  });

  test('gives counts that add up whatever shards answer', () => {
    const count = fc.nat(200);
    fc.assert(
      fc.property(fc.array(fc.tuple(count, count, count)), count, (shards, closed) => {
        const answers = shards.map(([done, running, parked]) => ({
          ...SHARD,
          tilesRunning: running,
          parked,
          counts: { ...SHARD.counts, tilesDone: done },
        }));
        const settled = closed + shards.reduce((sum, [done, , parked]) => sum + done + parked, 0);
        const status = {
          ...STATUS,
          tiles: settled + 50,
          closed: { tilesDone: closed, rowsDone: 0, parked: 0, skipped: 0 },
        };
        const { counts } = combine(status, answers, 1);
        expect(counts).not.toBeNull();
        const { total = 0, pending = -1, running = -1, done = 0, parked = 0 } = counts ?? {};
        expect(pending + running + done + parked).toBe(total);
        expect(Math.min(pending, running)).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test('says that shards are silent, and what idle lanes wait for', () => {
    expect(combine(STATUS, [null], 1).waiting).toContain('1 open shard(s) do not answer');
    const lane: LaneStatus = {
      lane: 0,
      state: 'holding',
      host: null,
      deviceId: null,
      variant: null,
      firstTile: null,
      endTile: null,
      since: 0,
      waiting: 'a pin cannot be honoured',
    };
    expect(combine(STATUS, [{ ...SHARD, lanes: [lane] }], 1).waiting).toBe(lane.waiting);
    const busy: LaneStatus = { ...lane, state: 'executing', waiting: null };
    expect(combine(STATUS, [{ ...SHARD, lanes: [lane, busy] }], 1).waiting).toBeNull();
  });
});

const REPORT: RunReport = { runId: 'r', workflowId: 'w', ...combine(STATUS, [SHARD], 10_000) };

describe('followRun', () => {
  const follow = (
    read: () => Promise<RunReport>,
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): ReturnType<typeof followRun> => {
    const { io } = recordingIo();
    const signal = options.signal ?? new AbortController().signal;
    return followRun({ io, label: 'r', read, signal, timeoutMs: options.timeoutMs });
  };

  test('ends when the run has closed', async () => {
    let reads = 0;
    const read = async (): Promise<RunReport> => {
      reads += 1;
      return { ...REPORT, open: reads < 3, phase: reads < 3 ? 'running' : 'finished' };
    };
    expect(await follow(read)).toMatchObject({ end: 'closed', report: { phase: 'finished' } });
  });

  test('ends at the timeout and at an abort, and leaves the run alone', async () => {
    const read = (): Promise<RunReport> => Promise.resolve(REPORT);
    expect((await follow(read, { timeoutMs: 3000 })).end).toBe('timed-out');
    expect((await follow(read, { signal: AbortSignal.abort() })).end).toBe('detached');
  });

  test('rides out a server that is away for a while, and no longer', async () => {
    let reads = 0;
    const flaky = async (): Promise<RunReport> => {
      reads += 1;
      if (reads > 1 && reads < 40) throw new Error('unavailable');
      return { ...REPORT, open: reads < 41 };
    };
    expect((await follow(flaky)).end).toBe('closed');
    const away = (): Promise<RunReport> => Promise.reject(new Error('unavailable'));
    await expect(follow(away)).rejects.toThrow('unavailable');
  });
});

describe('createProgress', () => {
  const state = { label: 'work', total: 1000, unit: 'rows', detail: null, waiting: null };

  test('writes a line per percent without a terminal', () => {
    const { io, stderr } = recordingIo();
    const progress = createProgress(io);
    for (const done of [0, 1, 5, 10, 11, 19, 20]) {
      progress.update({ ...state, done });
    }
    expect(stderr().trimEnd().split('\n')).toEqual([
      'work 0 % · 0 of 1,000 rows',
      'work 1 % · 10 of 1,000 rows',
      'work 2 % · 20 of 1,000 rows',
    ]);
  });

  test('redraws a block on a terminal and removes it', () => {
    const { io, stderr } = recordingIo({ stderrIsTty: true, env: { NO_COLOR: '1' } });
    const progress = createProgress(io);
    progress.update({ ...state, done: 500, detail: 'grid on cpu' });
    progress.update({ ...state, done: 600, waiting: 'a worker' });
    progress.clear();
    expect(stderr()).toContain('50.0 %\n  grid on cpu\n\u001b[2A\u001b[0J');
    expect(stderr().endsWith('waiting: a worker\n\u001b[2A\u001b[0J')).toBe(true);
  });
});

describe('RateMeter', () => {
  test('follows a steady rate and does not jump at one slow moment', () => {
    const meter = new RateMeter();
    let rate: number | null = null;
    for (let second = 0; second <= 20; second += 1) {
      rate = meter.observe(second * 100, second * 1000);
    }
    expect(rate).toBeCloseTo(100);
    expect(meter.observe(2000, 21_000)).toBeGreaterThan(85);
  });
});

describe('pins', () => {
  test.each([
    ['variant=assign/grid-avx2@1', 'assign/grid-avx2@1'],
    ['runtime=cpu', 'cpu'],
    ['chunkRows=1_000', 1000],
    ['host=a=b', 'a=b'],
  ])('reads %s', (text, value) => {
    expect(parsePin(text, 'why')).toMatchObject({ value, reason: 'why', ifImpossible: 'hold' });
  });

  test.each([
    ['varaint=x', 'did you mean variant?'],
    ['runtime=tpu', 'expected runtime=cpu | gpu'],
    ['chunkRows=0', 'at least 1'],
    ['variant=grid-avx2', 'is unknown'],
    ['precision', 'expected aspect=value'],
  ])('refuses %s', (text, message) => {
    expect(() => parsePin(text, '')).toThrow(message);
  });

  test('of the command line win over the spec for the same aspect', () => {
    const pins = [parsePin('runtime=gpu', 'spec'), parsePin('runtime=cpu', 'typed')];
    expect(operatorPins(pins, 'me')).toMatchObject([
      { value: 'cpu', reason: 'typed', author: 'me', epoch: 0, scope: { kind: 'run' } },
    ]);
  });
});

describe('makeRunId', () => {
  test('is readable, valid and different each time', () => {
    const ids = Array.from({ length: 50 }, () => makeRunId('a.b', Date.UTC(2026, 10, 3)));
    expect(new Set(ids).size).toBe(50);
    expect(ids.every((id) => /^a\.b-20261103-[a-z2-9]{6}$/.test(id) && isRunId(id))).toBe(true);
    expect(['', '../x', 'a/b', '-a', 'a b'].some(isRunId)).toBe(false);
  });
});

describe('format', () => {
  test.each([
    [0, '0.00 s'],
    [0.0042, '4.2 ms'],
    [0.5, '0.50 s'],
    [59.6, '1 min 0 s'],
    [3725, '1 h 2 min'],
    [200_000, '2 d 7 h'],
  ])('says %d seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  test('says counts and bytes shortly', () => {
    expect([formatShort(9999), formatShort(12_345), formatShort(2.5e9)]).toEqual([
      ...['9,999', '12.3 k', '2.5 G'],
    ]);
    expect([formatBytes(0), formatBytes(1536), formatBytes(2 ** 31)]).toEqual([
      ...['0 B', '1.5 KiB', '2.0 GiB'],
    ]);
  });

  test('aligns numbers to the right and texts to the left', () => {
    expect(
      formatTable(
        ['name', 'n'],
        [
          ['a', '1'],
          ['bcd', '10'],
        ],
      ),
    ).toBe(['name   n', 'a      1', 'bcd   10'].join('\n'));
  });
});

describe('interruptible', () => {
  test('aborts its function at Ctrl-C after saying what that means', async () => {
    const recorded = recordingIo();
    const done = interruptible(recorded.io, 'detached', async (signal) => {
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve);
      });
      return 7;
    });
    recorded.interrupt();
    expect(await done).toEqual({ value: 7, interrupted: true });
    expect(recorded.stderr()).toContain('detached');
  });
});

describe('runLines and chunkRows', () => {
  const payload = (value: unknown): object => ({
    payloads: [{ data: new TextEncoder().encode(JSON.stringify(value)) }],
  });
  const plan = (chunk: number, planId: string): LinkEvent[] => [
    {
      eventId: chunk * 10 + 1,
      activityTaskScheduledEventAttributes: {
        activityType: { name: 'plan' },
        input: payload({
          request: {
            where: { shard: 0, chunk, attempt: 1, epoch: 0, firstTile: chunk, reservedTiles: 1 },
          },
        }),
      },
    },
    {
      eventId: chunk * 10 + 2,
      activityTaskCompletedEventAttributes: {
        scheduledEventId: chunk * 10 + 1,
        result: payload({
          snapshot: { host: 'h' },
          decision: {
            ...{ schema: 'tileloom.plan/1', planId, variant: 'v@1', chunkTiles: 1, reasons: [] },
            ...{ precision: { compute: 'fp64' }, deviceId: 'cpu', predicted: { seconds: 1 } },
          },
        }),
      },
    },
  ];
  const execute = (chunk: number, planId: string, fails: boolean): LinkEvent[] => {
    const scheduledEventId = chunk * 10 + 3;
    const order = { shard: 0, chunk, attempt: 1, firstTile: chunk, endTile: chunk + 1, planId };
    const answer = { part: { rows: 10 }, seconds: { work: 2, queued: 0 } };
    return [
      {
        eventId: scheduledEventId,
        activityTaskScheduledEventAttributes: {
          activityType: { name: 'execute' },
          input: payload({ ...order, variant: 'v@1', precision: 'fp64', deviceId: 'cpu' }),
        },
      },
      fails
        ? {
            eventId: scheduledEventId + 1,
            activityTaskFailedEventAttributes: {
              scheduledEventId,
              failure: { message: 'crash', applicationFailureInfo: { type: 'KERNEL_FAULT' } },
            },
          }
        : {
            eventId: scheduledEventId + 1,
            activityTaskCompletedEventAttributes: { scheduledEventId, result: payload(answer) },
          },
    ];
  };
  const continued = (runId: string): LinkEvent => ({
    eventId: 1000,
    workflowExecutionContinuedAsNewEventAttributes: { newExecutionRunId: runId },
  });
  const child = (runId: string): LinkEvent => ({
    eventId: 5,
    childWorkflowExecutionStartedEventAttributes: {
      workflowExecution: { workflowId: 'shard', runId },
    },
  });
  const histories: Readonly<Record<string, readonly LinkEvent[]>> = {
    'run-1': [child('a')],
    'run-2': [child('c')],
    a: [...plan(0, 'p0'), ...execute(0, 'p0', false), continued('b')],
    b: [...plan(1, 'p1'), ...execute(1, 'p1', true), ...plan(2, 'p2')],
    c: [...plan(3, 'p3'), ...execute(3, 'p3', false)],
  };
  const source: HistorySource = {
    chain: (workflowId) =>
      Promise.resolve(
        workflowId === 'tileloom/r'
          ? ['run-1', 'run-2'].map((runId) => ({ workflowId, runId }))
          : [],
      ),
    events: async function* ({ runId }) {
      await Promise.resolve();
      yield* histories[runId] ?? [];
    },
  };

  test('follow the run and its shards through continue-as-new', async () => {
    const rows = await chunkRows(runLines(source, 'r'));
    expect(rows.map((row) => [row.chunk, row.state, row.rows, row.host])).toEqual([
      [0, 'done', 10, 'h'],
      [1, 'failed', null, 'h'],
      [2, 'superseded', null, 'h'],
      [3, 'done', 10, 'h'],
    ]);
    expect(rows[0]).toMatchObject({ rowsPerSecond: 5, predictedSeconds: 1 });
    expect(rows[1]?.failure).toBe('KERNEL_FAULT: crash');
  });

  test('refuse a run that nobody knows', async () => {
    await expect(chunkRows(runLines(source, 'other'))).rejects.toMatchObject({
      code: 'CLI_RUN_UNKNOWN',
    });
  });
});
