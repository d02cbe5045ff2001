// The walk over recorded histories: order, continue-as-new, reopened shards, forgotten executions.
import { describe, expect, test } from 'vitest';
import {
  LineReader,
  runLines,
  runWorkflowIdOf,
  shardOfWorkflow,
  type HistorySource,
  type LinkEvent,
} from '../../history/index.ts';
import { runWorkflowId, shardWorkflowId } from '../../workflows/messages.ts';

const payload = (value: unknown): object => ({
  payloads: [{ data: new TextEncoder().encode(JSON.stringify(value)) }],
});

/** A plan call of one chunk that was not answered in time. */
function plan(eventId: number, shard: number, chunk: number): LinkEvent[] {
  return [
    {
      eventId,
      activityTaskScheduledEventAttributes: {
        activityId: `plan/${chunk}.0`,
        activityType: { name: 'plan' },
        input: payload({ request: { where: { shard, chunk } } }),
      },
    },
    {
      eventId: eventId + 1,
      activityTaskTimedOutEventAttributes: {
        scheduledEventId: eventId,
        failure: { message: 'late', timeoutFailureInfo: {} },
      },
    },
  ];
}

const child = (shard: number, runId: string): LinkEvent => ({
  eventId: 5,
  childWorkflowExecutionStartedEventAttributes: {
    workflowExecution: { workflowId: shardWorkflowId('r', shard), runId },
  },
});
const continued = (runId: string): LinkEvent => ({
  eventId: 900,
  workflowExecutionContinuedAsNewEventAttributes: { newExecutionRunId: runId },
});

const notFound = (): Error => Object.assign(new Error('gone'), { code: 5 });

function sourceOf(
  histories: Readonly<Record<string, readonly LinkEvent[]>>,
  chains: Readonly<Record<string, readonly string[]>>,
): HistorySource {
  return {
    chain: (workflowId) =>
      Promise.resolve((chains[workflowId] ?? []).map((runId) => ({ workflowId, runId }))),
    events: async function* ({ runId }) {
      await Promise.resolve();
      const events = histories[runId];
      if (events === undefined) throw notFound();
      yield* events;
    },
  };
}

async function placesOf(source: HistorySource): Promise<string[]> {
  const places: string[] = [];
  for await (const line of runLines('r', { service: source, sink: null })) {
    if (line.kind === 'plan') {
      const { shard, chunk } = line.call.request.where;
      places.push(`${shard}/${chunk}@${line.runId}`);
    }
  }
  return places;
}

const HISTORIES = {
  'run-1': [child(10, 'ten'), child(2, 'two-a')],
  'run-2': [child(2, 'two-c')],
  ten: plan(10, 10, 0),
  'two-a': [...plan(10, 2, 0), continued('two-b')],
  'two-b': plan(10, 2, 1),
  'two-c': plan(10, 2, 2),
};
const CHAINS = {
  [runWorkflowId('r')]: ['run-1', 'run-2'],
  [shardWorkflowId('r', 2)]: ['two-b', 'two-c'],
};

describe('runLines', () => {
  test('go by shard number, then by execution, reopened shards included', async () => {
    expect(await placesOf(sourceOf(HISTORIES, CHAINS))).toEqual([
      '2/0@two-a',
      '2/1@two-b',
      '2/2@two-c',
      '10/0@ten',
    ]);
  });

  test('refuse a run that nobody knows', async () => {
    await expect(placesOf(sourceOf({}, {}))).rejects.toMatchObject({ code: 'HISTORY_RUN_UNKNOWN' });
  });

  test('never skip what the server has forgotten', async () => {
    const { 'two-a': _, ...rest } = HISTORIES;
    await expect(placesOf(sourceOf(rest, CHAINS))).rejects.toMatchObject({
      code: 'HISTORY_INCOMPLETE',
      details: { shard: 2 },
    });
  });

  test('name workflows as the workflows do', () => {
    expect(runWorkflowIdOf('r')).toBe(runWorkflowId('r'));
    expect(shardOfWorkflow(shardWorkflowId('a.b-c_1', 42))).toBe(42);
    expect(shardOfWorkflow('shard-1')).toBeNull();
  });
});

describe('LineReader', () => {
  test('reads code, tile and fingerprint of a failure, and survives odd details', () => {
    const failed = (details: object): unknown => {
      const reader = new LineReader('w', 'r');
      reader.push(plan(1, 0, 0)[0] as LinkEvent);
      return reader.push({
        eventId: 2,
        activityTaskFailedEventAttributes: {
          scheduledEventId: 1,
          failure: { message: 'no', applicationFailureInfo: { type: 'TILE_DATA_ERROR', details } },
        },
      })?.failure;
    };
    const known = { code: 'TILE_CHECKSUM', tile: 7, input: 'a.arrow', fingerprint: 'f' };
    const type = 'TILE_DATA_ERROR';
    expect(failed(payload(known))).toEqual({ type, message: 'no', ...known });
    expect(failed(payload({ code: 'X', tile: null, input: null, fingerprint: null }))).toEqual({
      ...{ type, message: 'no', code: 'X' },
    });
    const torn = { payloads: [{ data: new TextEncoder().encode('{"co') }] };
    for (const odd of [payload(null), payload('x'), payload([1]), torn, {}]) {
      expect(failed(odd)).toEqual({ type, message: 'no' });
    }
  });
});
