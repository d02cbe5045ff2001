import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answerText } from '../../cli/operator/command.ts';
import { makeRequest } from '../../cli/operator/request.ts';
import { formatTiles, parseTileRanges } from '../../cli/operator/tile-ranges.ts';
import { combine } from '../../cli/runs/combine.ts';
import { groupErrors } from '../../cli/runs/error-groups.ts';
import { GOALS, isReached } from '../../cli/runs/goals.ts';
import { chunksByPin, reportPins } from '../../cli/runs/pin-report.ts';
import { renderStatus } from '../../cli/runs/render-status.ts';
import { nextInput } from '../../cli/runs/reopen-run.ts';
import type { RunReport } from '../../cli/runs/report.ts';
import { lookCloser, type PendingChunk, type WaitingPort } from '../../cli/runs/waiting.ts';
import { createProgress } from '../../cli/progress.ts';
import type { HistoryLine } from '../../history/index.ts';
import { initialOperator, type OperatorState, type Pause } from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';
import type { LaneStatus, RunInput, RunStatus, ShardStatus } from '../../workflows/messages.ts';
import { recordingIo } from './fake-io.ts';

const OPERATOR: OperatorState = initialOperator([], {
  ...{ lanes: 2, chunkSecondsTarget: 2, memoryBytesMax: 2 ** 30 },
  ...{ cadence: 'every-chunk', failedTiles: 0 },
});

const PAUSE: Pause = {
  ...{ mode: 'drain', by: 'ann', reason: 'disk\u001b[2J', epoch: 5, since: 60_000, until: null },
};

const STATUS: RunStatus = {
  ...{ schema: 'tileloom.run-status/1', runId: 'r', name: 'n', phase: 'running', epoch: 5 },
  operator: OPERATOR,
  ...{ pausedMs: 0, startedAt: 0, finishedAt: null, tiles: 100, rows: 1000 },
  openShards: [
    { shard: 0, workflowId: 's0' },
    { shard: 1, workflowId: 's1' },
  ],
  closed: { tilesDone: 0, rowsDone: 0, parked: 0, skipped: 0 },
  ...{ sink: '/out', published: null, error: null, waiting: null },
};

const lane = (state: LaneStatus['state'], waiting: string | null = null): LaneStatus => ({
  ...{ lane: 0, state, host: 'h', deviceId: 'cpu', variant: 'v@1', firstTile: 0, endTile: 1 },
  ...{ since: 0, waiting },
});

const shard = (epoch: number, lanes: readonly LaneStatus[] = [], rowsDone = 0): ShardStatus => ({
  ...{ schema: 'tileloom.shard-status/1', shard: 0, range: { firstTile: 0, endTile: 50 }, epoch },
  counts: {
    ...{ chunks: 0, plans: 0, superseded: 0, failures: 0, tilesDone: 0, rowsDone },
    ...{ hits: 0, outside: 0, invalid: 0, kernelSeconds: 0, workSeconds: 0 },
  },
  ...{ tilesRunning: 0, parked: 0, skipped: 0, pinUses: {}, lanes, head: null },
});

const paused = (pause: Pause = PAUSE, more: Partial<RunStatus> = {}): RunStatus => ({
  ...STATUS,
  ...more,
  operator: { ...OPERATOR, epoch: 5, pause },
});

const report = (
  status: RunStatus,
  shards: readonly (ShardStatus | null)[],
  now: number,
): RunReport => ({ runId: 'r', workflowId: 'w', ...combine(status, shards, now) });

describe('a pause in the status', () => {
  test.each([
    ['before any shard knows', [shard(4), shard(3)], 'pausing', 0, 0],
    ['half way', [shard(5), shard(4, [lane('executing')])], 'pausing', 1, 1],
    ['with a chunk left', [shard(5, [lane('executing')]), shard(6)], 'pausing', 2, 1],
    ['with a shard that is silent', [shard(5), null], 'pausing', 1, 0],
    ['in the end', [shard(5, [lane('holding', 'paused')]), shard(9)], 'drained', 2, 0],
    ['with no shard open', [], 'drained', 0, 0],
  ] as const)('is told %s', (_when, shards, state, acknowledged, chunksInFlight) => {
    const { pause } = report(paused(), shards, 70_000);
    expect(pause).toMatchObject({ state, acknowledged, shards: shards.length, chunksInFlight });
  });

  test('does not count for the rate, the time left or a later rate', () => {
    const before = report(STATUS, [shard(5, [], 300), shard(5)], 60_000);
    const during = report(paused(), [shard(5, [], 300), shard(5)], 600_000);
    const after = report({ ...STATUS, pausedMs: 540_000 }, [shard(5, [], 300)], 600_000);
    for (const one of [before, during, after]) {
      expect(one.rowsPerSecond).toBeCloseTo(5);
      expect(one.etaSeconds).toBeCloseTo(140);
    }
    expect([before, during, after].map((one) => one.pausedSeconds)).toEqual([0, 540, 540]);
  });

  test('is told in one sentence, with what people wrote escaped', () => {
    const text = renderStatus(report(paused(), [shard(5), shard(4)], 70_000));
    expect(text).toContain('running, pausing (1 of 2 shards acknowledged, 0 chunks in flight)');
    expect(text).toContain('paused by ann: disk\\u{1b}[2J · pausing');
    expect(text).not.toContain('\u001b');
  });

  test('reaches the goals in order', () => {
    const reached = (one: RunReport): string[] => GOALS.filter((goal) => isReached(goal, one));
    expect(reached(report(paused(), [shard(4)], 1))).toEqual([]);
    expect(reached(report(paused(), [shard(5, [lane('executing')])], 1))).toEqual(['paused']);
    expect(reached(report(paused(), [shard(5)], 1))).toEqual(['drained', 'paused']);
    const parked = { ...STATUS.closed, parked: 1 };
    expect(reached(report({ ...STATUS, closed: parked }, [], 1))).toEqual(['parked']);
    expect(reached(report({ ...STATUS, phase: 'finished' }, [], 1))).toEqual(['finished']);
  });
});

describe('the waiting line', () => {
  const port = (pollers: readonly string[], chunks: readonly PendingChunk[] = []): WaitingPort => ({
    pollers: () => Promise.resolve(pollers),
    chunks: (workflowId) => Promise.resolve(workflowId === 's0' ? chunks : []),
  });
  const look = async (
    status: RunStatus,
    lanes: readonly LaneStatus[],
    from: WaitingPort,
  ): Promise<RunReport> => {
    const facts = combine(status, [shard(0, lanes)], 100_000);
    return { runId: 'r', workflowId: 'w', ...(await lookCloser(from, status, facts, 100_000)) };
  };
  const pin: Pin = {
    ...{ id: 'pin-1', aspect: 'host', value: 'big', scope: { kind: 'run' }, reason: 'r' },
    ...{ author: 'a', epoch: 1, expiresAt: null, chunksLeft: null, ifImpossible: 'hold' },
  };

  test('says that nobody polls the queue that lanes wait on', async () => {
    const waits = lane('claiming', 'no host has answered on tileloom.pool.any yet');
    const one = await look(STATUS, [waits], port([]));
    expect(one.waiting).toContain('no worker polls tileloom.pool.any; start one');
    expect(one.waitingFor).toBe('host');
    expect((await look(STATUS, [waits], port(['w']))).waiting).toBe(waits.waiting);
  });

  test('says which pin names a host that nobody serves', async () => {
    const status = { ...STATUS, operator: { ...OPERATOR, pins: [pin] } };
    const waits = lane('claiming', 'no host has answered on tileloom.big yet');
    const one = await look(status, [waits], port([]));
    expect(one.waiting).toMatch(/^pin pin-1 names host big, and no worker polls tileloom\.big/);
    expect(one.waitingFor).toBe('plan');
  });

  test('says that every chunk waits for memory, but not while one runs', async () => {
    const queued = { queue: 'tileloom.h.cpu', stage: 'queued', startedAt: 40_000 };
    const one = await look(STATUS, [lane('executing')], port([], [queued, queued]));
    expect(one.waiting).toBe(
      'admission: 2 chunks wait on tileloom.h.cpu since 60 s for its executor, memory or a core',
    );
    const running = { ...queued, stage: 'running' };
    const other = await look(STATUS, [lane('executing')], port([], [queued, running]));
    expect([other.waiting, other.waitingFor]).toEqual([null, 'nothing']);
  });

  test('is there even when the run waits for nothing', () => {
    const text = renderStatus(report(STATUS, [shard(0, [lane('executing')])], 1_000));
    expect(text).toMatch(/^waiting +for nothing: 1 lane works$/m);
  });
});

describe('tile ranges', () => {
  test('are read, put in order and merged', () => {
    expect(parseTileRanges('9, 3-7,8,20-21')).toEqual([
      { firstTile: 3, endTile: 10 },
      { firstTile: 20, endTile: 22 },
    ]);
  });

  test.each(['', '3-', '-3', '7-3', '3-7;9', 'a', '1-2-3', '1.5'])('refuse %j', (text) => {
    expect(() => parseTileRanges(text)).toThrow('are not valid');
  });

  test('are the same tiles when they are written and read again', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(60), { minLength: 1 }), (tiles) => {
        const sorted = tiles.toSorted((a, b) => a - b);
        const ranges = parseTileRanges(formatTiles(sorted, Infinity));
        const back = ranges.flatMap(({ firstTile, endTile }) =>
          Array.from({ length: endTile - firstTile }, (_, index) => firstTile + index),
        );
        expect(back).toEqual(sorted);
      }),
    );
  });

  test('are cut when there are many', () => {
    expect(formatTiles([1, 3, 5, 7], 2)).toBe('1, 3, and 2 more');
  });
});

type Failure = NonNullable<HistoryLine['failure']>;

const failed = (
  tiles: readonly [number, number],
  failure: Failure | null,
  closedAt: number,
  variant = 'v@1',
): HistoryLine =>
  ({
    ...{ schema: 'tileloom.plan-line/1', kind: 'execute', closedAt, failure },
    order: { firstTile: tiles[0], endTile: tiles[1], variant, shard: 0 },
  }) as unknown as HistoryLine;

async function* stream(lines: readonly HistoryLine[]): AsyncGenerator<HistoryLine> {
  await Promise.resolve();
  yield* lines;
}

describe('groupErrors', () => {
  const bad: Failure = {
    ...{ type: 'TILE_DATA_ERROR', message: 'corrupt', code: 'TILE_CORRUPT' },
    ...{ tile: 3, input: 'points', fingerprint: 'f1' },
  };
  const fault: Failure = { type: 'KERNEL_FAULT', message: 'crash', code: 'EXECUTOR_CRASHED' };

  test('counts by fingerprint and knows which tiles are parked', async () => {
    const groups = await groupErrors(
      stream([
        failed([0, 8], bad, 10),
        failed([3, 4], bad, 20),
        failed([9, 10], bad, 25),
        failed([12, 13], fault, 30),
        failed([13, 14], fault, 31),
        failed([13, 14], fault, 32, 'w@1'),
        failed([20, 30], { type: 'CANCELLED', message: 'paused' }, 40),
        failed([9, 10], null, 50),
      ]),
    );
    expect(groups).toMatchObject([
      {
        ...{ fingerprint: 'EXECUTOR_CRASHED', errorClass: 'KERNEL_FAULT', count: 3, parkedNow: 1 },
        ...{ firstSeen: 30, lastSeen: 32, tiles: [12, 13] },
      },
      {
        ...{ fingerprint: 'f1', code: 'TILE_CORRUPT', count: 3, parkedNow: 1, input: 'points' },
        ...{ firstSeen: 10, lastSeen: 25, tiles: [3, 9] },
      },
    ]);
  });

  test('gives nothing for a run without failures', async () => {
    expect(await groupErrors(stream([failed([0, 8], null, 10)]))).toEqual([]);
  });
});

describe('pin reports', () => {
  const planned = (chunk: number, pin: string): HistoryLine =>
    ({
      ...{ kind: 'plan', failure: null },
      call: { request: { where: { shard: 2, chunk } } },
      answer: { decision: { reasons: [{ code: 'PIN_APPLIED', params: { pin } }] } },
    }) as unknown as HistoryLine;

  test('name the chunks that a pin touched and what is left of it', async () => {
    const lines = [planned(1, 'p'), planned(1, 'p'), planned(2, 'p'), planned(3, 'other')];
    const affected = await chunksByPin(stream(lines));
    const pin: Pin = {
      ...{ id: 'p', aspect: 'chunkRows', value: 10, scope: { kind: 'chunks', count: 5 } },
      ...{ reason: 'r', author: 'a', epoch: 1, expiresAt: null, chunksLeft: null },
      ifImpossible: 'hold',
    };
    const uses = [
      { shard: 2, pinUses: { p: 2 } },
      { shard: 3, pinUses: { p: 9 } },
    ];
    expect(reportPins({ ...OPERATOR, pins: [pin] }, uses, affected)).toEqual([
      { ...pin, chunksLeftByShard: { 2: 3, 3: 0 }, affected: ['2/1', '2/2'] },
    ]);
  });
});

describe('nextInput', () => {
  const ledger = {
    schema: 'tileloom.run-input/1',
    runId: 'r',
    generation: 1,
    operator: { ...OPERATOR, epoch: 4, pause: PAUSE },
    carried: { prepared: { tiles: 10 } },
  } as unknown as RunInput;
  const retry = (more: { ifEpoch?: number; endTile?: number } = {}) =>
    makeRequest(
      {
        ...{ verb: 'retry', pin: null },
        select: { tiles: [{ firstTile: 0, endTile: more.endTile ?? 3 }], fingerprint: null },
      },
      { ifEpoch: more.ifEpoch },
    );

  test('goes on from the ledger, not paused, with the order and the new limit', () => {
    const { operator, generation } = nextInput(ledger, retry({ ifEpoch: 4 }), 1, 7);
    expect(generation).toBe(1);
    expect(operator).toMatchObject({ pause: null, cancel: null, limits: { failedTiles: 7 } });
    expect(operator.epoch).toBeGreaterThan(4);
    expect(operator.parkedOrders).toMatchObject([{ kind: 'retry', epoch: operator.epoch }]);
  });

  test('refuses another epoch, tiles that the run lacks and a request that it knows', () => {
    expect(() => nextInput(ledger, retry({ ifEpoch: 3 }), 1, undefined)).toThrow('epoch 4');
    expect(() => nextInput(ledger, retry({ endTile: 11 }), 1, undefined)).toThrow('tiles 0-9');
    const request = retry();
    const again = {
      ...ledger,
      operator: { ...ledger.operator, recent: [{ id: request.id, epoch: 4 }] },
    };
    expect(() => nextInput(again, request, 1, undefined)).toThrow('was followed before');
  });
});

describe('answers', () => {
  const request = makeRequest({ verb: 'pause', mode: 'drain', ttlMs: null }, {});

  test('say at which epoch a request was accepted, or that it waits', () => {
    const answer = { schema: 'tileloom.operator-answer/1', epoch: 5, pins: [] } as const;
    const entry = { after: { pause: PAUSE } } as never;
    const say = (changed: boolean): string =>
      answerText('r', request, {
        queued: false,
        answer: { ...answer, changed, entry: changed ? entry : null },
      });
    expect(say(true)).toContain('accepted@5: paused by ann: disk\\u{1b}[2J; wait until');
    expect(say(false)).toMatch(/^accepted@5: /);
    expect(answerText('r', request, { queued: true, answer: null })).toContain('no worker answers');
  });
});

describe('progress of a paused run', () => {
  test('shows no rate, and the pause once', () => {
    const { io, stderr } = recordingIo();
    let now = 0;
    const progress = createProgress({ ...io, now: () => now });
    const state = { label: 'w', total: 1000, unit: 'rows', detail: null, waiting: null };
    const steps = [
      ...[0, 100, 200].map((done) => ({ ...state, done })),
      { ...state, done: 200, paused: true, waiting: 'paused, 3 chunks in flight' },
      { ...state, done: 200, paused: true, waiting: 'paused, 2 chunks in flight' },
      { ...state, done: 200, paused: true, waiting: 'drained' },
      { ...state, done: 200 },
      { ...state, done: 300 },
    ];
    for (const [index, step] of steps.entries()) {
      now = index < 6 ? index * 1000 : 1_000_000 + index * 1000;
      progress.update(step);
    }
    const lines = stderr().trimEnd().split('\n');
    expect(lines.slice(3, 5)).toEqual([
      'w 20 % · 200 of 1,000 rows · paused, 3 chunks in flight',
      'w 20 % · 200 of 1,000 rows · drained',
    ]);
    expect(lines.at(-1)).toContain('w 30 %');
  });
});
