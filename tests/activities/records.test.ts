// What seal and publish write below `records/`: plan lines of exactly the events that were asked for,
// and the audit.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '@temporalio/client';
import { writeAudit } from '../../activities/audit.ts';
import { readSegmentChain, readSegmentRecords } from '../../datasets/index.ts';
import type { AuditEntry } from '../../operator/index.ts';
import type { SegmentRef } from '../../workflows/activity-contract.ts';
import { RecordedRun } from '../history/recorded-run.ts';
import { NOW, STATE, pause, request } from '../operator/values.ts';
import { RUN, RunSink, serviceWith, type SealChanges } from './run-sink.ts';

let run: RunSink;
beforeEach(async () => {
  run = await RunSink.claim();
});
afterEach(() => run.remove());

const payloads = (value: unknown): object => ({
  payloads: [{ data: new TextEncoder().encode(JSON.stringify(value)) }],
});

/** Plans that were scheduled at event 2n and answered at 2n + 1, and some activity between. */
const EVENTS = Array.from({ length: 60 }, (_, index) => {
  const scheduledEventId = 2 * index + 2;
  const name = index % 5 === 4 ? 'releaseLease' : 'plan';
  return [
    {
      eventId: scheduledEventId,
      eventTime: { seconds: 1_000 + index, nanos: 0 },
      activityTaskScheduledEventAttributes: {
        activityId: `a-${index}`,
        activityType: { name },
        input: payloads({ leaseId: 'größe', n: index }),
      },
    },
    {
      eventId: scheduledEventId + 1,
      eventTime: { seconds: 1_000 + index, nanos: 5e8 },
      activityTaskCompletedEventAttributes: { scheduledEventId, result: payloads({ n: index }) },
    },
  ];
}).flat();

async function eventsOf(head: SegmentRef): Promise<number[]> {
  const events: number[] = [];
  for (const segment of await readSegmentChain(run.folder, head)) {
    for (const line of await readSegmentRecords(run.folder, segment)) {
      events.push((JSON.parse(line) as { eventId: number }).eventId);
    }
  }
  return events;
}

describe('seal', () => {
  const workflow = (fromEventId: number, throughEventId: number): SealChanges => ({
    workflow: { id: 'w', runId: 'r', fromEventId, throughEventId },
  });
  /** Closing events of plans: odd, without every fifth pair. */
  const closings = (from: number, through: number): number[] =>
    EVENTS.flatMap((event, index) =>
      index % 2 === 1 && (index - 1) % 10 !== 8 ? [event.eventId] : [],
    ).filter((eventId) => from <= eventId && eventId <= through);

  test('exports the lines of the events asked for, the same when it is tried again later', async () => {
    const known = serviceWith(EVENTS.slice(0, 40));
    const first = await run.seal([], workflow(1, 30), known);
    const files = run.files();
    const again = await run.seal([], workflow(1, 30), serviceWith(EVENTS));
    expect(again).toEqual(first);
    expect(run.files()).toEqual(files);
    expect(await eventsOf(first.segment)).toEqual(closings(1, 30));
  });

  test('exports each line once over a chain of seals', async () => {
    const borders = [1, 14, 15, 60, 61, 122];
    let head: SegmentRef | null = null;
    for (const [sequence, from] of borders.slice(0, -1).entries()) {
      const through = (borders[sequence + 1] ?? 0) - 1;
      const more: SealChanges = { sequence, previous: head, ...workflow(from, through) };
      head = (await run.seal([], more, serviceWith(EVENTS))).segment;
    }
    expect(await eventsOf(head as SegmentRef)).toEqual(closings(1, 121));
  });

  test('writes no segment when the history cannot be read', async () => {
    const client = {
      options: { namespace: 'default' },
      workflowService: {
        getWorkflowExecutionHistory: async () => Promise.reject(new Error('unavailable')),
      },
    } as unknown as Client;
    await expect(run.seal([], {}, client)).rejects.toThrow('unavailable');
    expect(readdirSync(join(run.folder, 'segments'))).toEqual([]);
    expect(readdirSync(join(run.folder, 'records')).filter((name) => /shard/u.test(name))).toEqual(
      [],
    );
  });
});

describe('the audit', () => {
  const auditFile = (): string => join(run.folder, 'records', 'audit.jsonl');
  const written = (): AuditEntry[] =>
    readFileSync(auditFile(), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as AuditEntry);

  /** A run that was paused and resumed; then, maybe, more of it. */
  function recorded(): RecordedRun {
    const history = new RecordedRun(STATE, NOW);
    history.task({ at: NOW + 10, updates: [request(pause(), { id: 'one' })] });
    history.task({ at: NOW + 20, updates: [request({ verb: 'resume' }, { id: 'two' })] });
    return history;
  }

  async function write(client: Client): Promise<string[]> {
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    await writeAudit({ client, warn }, run.folder, RUN);
    return warnings;
  }

  test('is written by publish, before the marker', async () => {
    const { segment } = await run.seal([await run.part({ firstTile: 0, endTile: 6 })]);
    await run.publish([segment], {}, serviceWith(recorded().events));
    expect(written().map(({ verb }) => verb)).toEqual(['start', 'pause', 'resume']);
  });

  test('is the same when it is written again, and grows with the history', async () => {
    const history = recorded();
    expect(await write(serviceWith(history.events))).toEqual([]);
    const text = readFileSync(auditFile(), 'utf8');
    await write(serviceWith(history.events));
    expect(readFileSync(auditFile(), 'utf8')).toBe(text);
    history.task({ at: NOW + 30, updates: [request(pause(), { id: 'three' })] });
    await write(serviceWith(history.events));
    expect(written().map(({ epoch }) => epoch)).toEqual([0, 1, 2, 3]);
  });

  test('keeps what is forgotten elsewhere, and adds what a retry brings', async () => {
    const history = recorded();
    await write(serviceWith(history.events));
    const before = written();
    const from = history.events.length;
    history.start(NOW + 40, 'continued');
    history.task({ at: NOW + 50, updates: [request(pause(), { id: 'later' })] });
    expect(await write(serviceWith(history.events.slice(from)))).toEqual([]);
    expect(written()).toEqual([...before, ...history.entries.slice(-1)]);
    await write(serviceWith(history.events));
    expect(written()).toEqual([...before, ...history.entries.slice(-1)]);
  });

  test.each([
    ['expired', serviceWith([])],
    ['out of reach', {} as Client],
  ])('does not keep a run from being published when its history is %s', async (_, client) => {
    const { segment } = await run.seal([await run.part({ firstTile: 0, endTile: 6 })]);
    expect(await run.publish([segment], {}, client)).toMatchObject({ outcome: 'success' });
    expect(await write(client)).toEqual([expect.stringContaining('audit of run run-1')]);
    expect(readdirSync(join(run.folder, 'records'))).not.toContain('audit.jsonl');
  });

  test('that somebody edited is made anew, and says so', async () => {
    const client = serviceWith(recorded().events);
    await write(client);
    const text = readFileSync(auditFile(), 'utf8');
    writeFileSync(auditFile(), text.slice(0, -30));
    expect(await write(client)).toEqual([expect.stringContaining('replaced')]);
    expect(readFileSync(auditFile(), 'utf8')).toBe(text);
  });
});
