// The budgets of design §4 on real history, over SIMULATED activities with values of realistic
// size.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { temporal } from '@temporalio/proto';
import { startFleet, type Fleet } from '../e2e/harness/simulated-fleet.ts';
import { runInput } from '../e2e/harness/simulated-values.ts';
import { SimulatedWork } from '../e2e/harness/simulated-work.ts';

type HistoryEvent = temporal.api.history.v1.IHistoryEvent;
type Payloads = temporal.api.common.v1.IPayloads | null | undefined;

const CHUNKS = 60;
/** Started, completed, and their workflow tasks. */
const START_AND_END = 8;
let work: SimulatedWork;
let fleet: Fleet;

beforeEach(async () => {
  work = new SimulatedWork({ tiles: (CHUNKS - 2) * 4 + 2 });
  fleet = await startFleet(inject('temporal').address, work);
});
afterEach(() => fleet.close());

const bytesOf = (event: HistoryEvent): number =>
  temporal.api.history.v1.HistoryEvent.encode(event).finish().length;

const payloadBytes = (payloads: Payloads): number =>
  (payloads?.payloads ?? []).reduce((sum, { data }) => sum + (data?.length ?? 0), 0);

async function shardHistory(lanes: number): Promise<readonly HistoryEvent[]> {
  const runId = randomUUID();
  await fleet.addHost('one', { capacity: lanes });
  await fleet.run(runInput(runId, { limits: { lanes } }));
  const shard = fleet.client.workflow.getHandle(`tileloom/${runId}/shard-0`);
  return (await shard.fetchHistory()).events ?? [];
}

describe('history of a shard', () => {
  test.each([1, 2])(
    'has 12 events and 8 KiB per planned chunk at most (%i lanes)',
    async (lanes) => {
      const events = await shardHistory(lanes);
      const activities = events.filter((event) => event.activityTaskScheduledEventAttributes);
      const plans = work.planned().length;
      expect(work.executed()).toHaveLength(plans);
      expect(plans).toBeGreaterThanOrEqual(CHUNKS - 1);
      // Leases and seals come once in many chunks: three events each, and three of a workflow task.
      const others = activities.length - 2 * plans;
      expect(others).toBeLessThanOrEqual(12);
      expect(events.length - 6 * others - START_AND_END).toBeLessThanOrEqual(12 * plans);
      expect(events.length / plans).toBeLessThanOrEqual(13);
      const bytes = events.reduce((sum, event) => sum + bytesOf(event), 0);
      expect(bytes / plans).toBeLessThanOrEqual(8 * 1024);
    },
  );

  test('keeps each payload within its own budget', async () => {
    const events = await shardHistory(2);
    const scheduled = new Map<string, string>();
    const sizes: Record<string, number> = {};
    const note = (key: string, bytes: number): void => {
      sizes[key] = Math.max(sizes[key] ?? 0, bytes);
    };
    for (const event of events) {
      const ask = event.activityTaskScheduledEventAttributes;
      const answer = event.activityTaskCompletedEventAttributes;
      if (ask) {
        const name = ask.activityType?.name ?? '';
        scheduled.set(String(event.eventId), name);
        note(`${name} asks`, payloadBytes(ask.input));
      }
      if (answer) {
        const name = scheduled.get(String(answer.scheduledEventId)) ?? '';
        note(`${name} answers`, payloadBytes(answer.result));
      }
      note('any', payloadBytes(event.workflowExecutionStartedEventAttributes?.input));
    }
    expect(sizes['plan asks']).toBeLessThanOrEqual(2048);
    expect(sizes['plan answers']).toBeLessThanOrEqual(3072);
    expect(sizes['execute asks']).toBeLessThanOrEqual(512);
    expect(sizes['execute answers']).toBeLessThanOrEqual(1024);
    expect(Math.max(...Object.values(sizes))).toBeLessThanOrEqual(64 * 1024);
  });
});
