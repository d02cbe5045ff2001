import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../cli/exit.ts';
import { identify, type Execution } from '../../cli/operator/identify.ts';
import type { RunPort } from '../../cli/operator/port.ts';
import { makeRequest } from '../../cli/operator/request.ts';
import { sendRequest, type Sent } from '../../cli/operator/send.ts';
import {
  initialOperator,
  type OperatorAnswer,
  type OperatorCommand,
  type OperatorRequest,
} from '../../operator/index.ts';
import type { LocalRun } from '../../cli/runs/local-runs.ts';
import type { RunStatus } from '../../workflows/messages.ts';

const ANSWER: OperatorAnswer = {
  schema: 'tileloom.operator-answer/1',
  epoch: 7,
  changed: true,
  pins: [],
  entry: null,
};

const RUNNING: Execution = {
  executionId: 'e',
  type: 'runWorkflow',
  status: 'RUNNING',
  input: { schema: 'tileloom.run-input/1' },
};

/** An error as the Temporal client throws it: told apart by name and gRPC code. */
function thrown(name: string, code?: number, cause?: unknown, message = name): Error {
  const error = new Error(message, { cause });
  error.name = name;
  return code === undefined ? error : Object.assign(error, { code });
}

const refused = (type: string, message = 'no'): Error =>
  thrown('WorkflowUpdateFailedError', undefined, Object.assign(new Error(message), { type }));

interface Fake {
  readonly port: RunPort;
  readonly requests: OperatorRequest[];
  readonly signals: OperatorRequest[];
  readonly cancels: () => number;
}

/** A port whose update does what the list says, one entry a try; the last entry goes on. */
function fake(
  tries: readonly (OperatorAnswer | Error | 'silence')[],
  more: Partial<RunPort> = {},
): Fake {
  const requests: OperatorRequest[] = [];
  const signals: OperatorRequest[] = [];
  let cancels = 0;
  const port: RunPort = {
    runId: 'r',
    read: () => Promise.resolve(RUNNING),
    update: (request, _deadline, signal) => {
      const next = tries[Math.min(requests.length, tries.length - 1)];
      requests.push(request);
      if (next === 'silence' || next === undefined) {
        return new Promise((_resolve, reject) => {
          const end = (): void => reject(thrown('WorkflowUpdateRPCTimeoutOrCancelledError', 1));
          signal.addEventListener('abort', end);
          setTimeout(end, 40);
        });
      }
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
    },
    signal: (request) => {
      signals.push(request);
      return Promise.resolve();
    },
    cancel: () => {
      cancels += 1;
      return Promise.resolve();
    },
    hasWorker: () => Promise.resolve(true),
    status: () => Promise.resolve(null),
    ...more,
  };
  return { port, requests, signals, cancels: () => cancels };
}

const PAUSE: OperatorCommand = { verb: 'pause', mode: 'drain', ttlMs: null };
const LIMITS: OperatorCommand = { verb: 'limits', set: { lanes: 3 } };

function send(port: RunPort, command: OperatorCommand, id?: string): Promise<Sent> {
  let now = 1_000;
  return sendRequest(port, makeRequest(command, { requestId: id }), {
    now: () => now,
    sleep: async (ms) => {
      now += Math.max(ms, 200);
      await Promise.resolve();
    },
    timeoutMs: 2_000,
    impatientMs: 10,
  });
}

describe('sendRequest', () => {
  test('gives the answer of the run, and a time after which it must not be accepted', async () => {
    const { port, requests } = fake([ANSWER]);
    expect(await send(port, PAUSE)).toEqual({ queued: false, answer: ANSWER });
    expect(requests[0]).toMatchObject({ notAfter: 3_000, via: 'cli', command: PAUSE });
  });

  test.each([
    ['a broken connection', thrown('ServiceError', 14)],
    ['a lost completion', thrown('WorkflowUpdateRPCTimeoutOrCancelledError', 4)],
    ['a run that continues as new', thrown('WorkflowNotFoundError', 5)],
    ['an update that continue-as-new cut off', refused('AcceptedUpdateCompletedWorkflow')],
    ['a server that is busy', thrown('ServiceError', 8)],
  ])('repeats the very same request after %s', async (_what, error) => {
    const { port, requests } = fake([error, error, ANSWER]);
    expect(await send(port, LIMITS)).toMatchObject({ answer: { epoch: 7 } });
    expect(requests.length).toBe(3);
    expect(new Set(requests.map((request) => JSON.stringify(request))).size).toBe(1);
  });

  test.each([
    ['OPERATOR_REQUEST_INVALID', 2],
    ['OPERATOR_PIN_UNKNOWN', 2],
    ['OPERATOR_PIN_IMPOSSIBLE', 2],
    ['OPERATOR_TILES_UNKNOWN', 2],
    ['OPERATOR_REQUEST_EXPIRED', 4],
    ['OPERATOR_CONFLICT', 7],
    ['OPERATOR_RUN_ENDING', 7],
    ['OPERATOR_PINS_FULL', 7],
    ['OPERATOR_NOTHING_PARKED', 7],
  ])('gives a refusal with %s on as it is, with exit code %i', async (code, exit) => {
    const { port, requests } = fake([refused(code, 'because')]);
    const error: unknown = await send(port, LIMITS).catch((one: unknown) => one);
    expect(error).toMatchObject({ code, message: 'because' });
    expect([exitCodeOf(error), requests.length]).toEqual([exit, 1]);
  });

  test('names an answer that is neither', async () => {
    const { port } = fake([refused('ReferenceError', 'no handler')]);
    await expect(send(port, LIMITS)).rejects.toMatchObject({ code: 'CLI_REQUEST_FAILED' });
  });

  test.each([
    [PAUSE, 1, 0],
    [{ verb: 'resume' } as const, 1, 0],
    [{ verb: 'cancel' } as const, 0, 1],
  ])('lets %j wait on the server when no worker answers', async (command, signals, cancels) => {
    const told = fake(['silence'], { hasWorker: () => Promise.resolve(false) });
    expect(await send(told.port, command, 'mine')).toEqual({ queued: true, answer: null });
    expect([told.signals.length, told.cancels()]).toEqual([signals, cancels]);
    // A signal may come late: whoever sent it was told that it waits.
    expect(told.signals.every(({ id, notAfter }) => id === 'mine' && notAfter === null)).toBe(true);
  });

  test('lets no other verb wait', async () => {
    const { port, signals } = fake(['silence'], { hasWorker: () => Promise.resolve(false) });
    const error: unknown = await send(port, LIMITS).catch((one: unknown) => one);
    expect(error).toMatchObject({ code: 'CLI_NO_WORKER', retryable: true });
    expect(String(error)).toContain('nothing was applied and nothing will be');
    expect([exitCodeOf(error), signals.length]).toEqual([4, 0]);
  });

  test('finds an answer that was lost among the requests that the run remembers', async () => {
    const limits = { lanes: 1, chunkSecondsTarget: 1, memoryBytesMax: 1, failedTiles: 0 };
    const operator = {
      ...initialOperator([], { ...limits, cadence: 'every-chunk' }),
      recent: [{ id: 'mine', epoch: 4 }],
    };
    const status = (): Promise<RunStatus> => Promise.resolve({ operator } as unknown as RunStatus);
    const { port } = fake(['silence'], { status });
    expect(await send(port, LIMITS, 'mine')).toMatchObject({ answer: { epoch: 4 } });
  });

  test.each([
    [{ ...RUNNING, status: 'COMPLETED' }, 'CLI_RUN_ENDED', 7],
    [null, 'CLI_RUN_UNKNOWN', 2],
  ])('says so when the run is gone: %j', async (execution, code, exit) => {
    const read = (): Promise<Execution | null> => Promise.resolve(execution);
    const { port } = fake([thrown('WorkflowNotFoundError', 5)], { read });
    const error: unknown = await send(port, PAUSE).catch((one: unknown) => one);
    expect([(error as { code: string }).code, exitCodeOf(error)]).toEqual([code, exit]);
  });

  test("tells the server's own pause from ours", async () => {
    const { port } = fake([thrown('ServiceError', 9, undefined, 'workflow is paused')]);
    await expect(send(port, PAUSE)).rejects.toMatchObject({ code: 'CLI_RUN_SERVER_PAUSED' });
  });

  test('gives up at once when the service denies it', async () => {
    const { port, requests } = fake([thrown('ServiceError', 7)]);
    await expect(send(port, PAUSE)).rejects.toMatchObject({ code: 7 });
    expect(requests.length).toBe(1);
  });

  test('gives a connection that stays broken on as it is', async () => {
    const { port, signals } = fake([thrown('ServiceError', 14)]);
    await expect(send(port, PAUSE)).rejects.toMatchObject({ code: 14 });
    expect(signals).toEqual([]);
  });
});

describe('makeRequest', () => {
  test('refuses what the run would refuse, before anybody is asked', () => {
    const pause = { ...PAUSE, ttlMs: Number.MAX_SAFE_INTEGER };
    expect(() => makeRequest(pause, {})).toThrow('the request is not valid');
    expect(() => makeRequest(PAUSE, { reason: 'x'.repeat(10_000) })).toThrow('reason');
  });

  test('gives each request an id of its own', () => {
    expect(makeRequest(PAUSE, {}).id).not.toBe(makeRequest(PAUSE, {}).id);
  });
});

describe('identify', () => {
  const local: LocalRun = {
    schema: 'tileloom.local-run/1',
    ...{ runId: 'r', name: 'n', sink: '/out' },
    ...{ specDigest: 'd', startedAt: 0 },
  };

  test.each([
    ['nobody knows', null, null, 'CLI_RUN_UNKNOWN', 2],
    ['the server has forgotten', null, local, 'CLI_RUN_FORGOTTEN', 2],
    ['is of another product', { ...RUNNING, type: 'other' }, null, 'CLI_RUN_FOREIGN', 2],
    ['has an input of something else', { ...RUNNING, input: 'hello' }, null, 'CLI_RUN_FOREIGN', 2],
    [
      'is newer',
      { ...RUNNING, input: { schema: 'tileloom.run-input/2' } },
      null,
      'CLI_RUN_NEWER',
      7,
    ],
  ])('names a run that %s', (_what, execution, remembered, code, exit) => {
    const error = (() => {
      try {
        return identify('r', execution, remembered);
      } catch (one) {
        return one;
      }
    })();
    expect([(error as { code?: string }).code, exitCodeOf(error)]).toEqual([code, exit]);
  });

  test.each([
    ['RUNNING', true],
    ['PAUSED', true],
    ['COMPLETED', false],
    ['TERMINATED', false],
  ])('says whether a run that is %s is open', (status, open) => {
    expect(identify('r', { ...RUNNING, status }, null)).toMatchObject({ open, status });
  });
});
