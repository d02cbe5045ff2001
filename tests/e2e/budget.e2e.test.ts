import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { canonicalJson } from '../../core/index.ts';
import {
  executionChain,
  fetchEvents,
  LineReader,
  type HistoryEvent,
  type HistoryLine,
  type PlanLine,
} from '../../history/index.ts';
import { completeRequest, plan, policyFrom, type Policy } from '../../planner/index.ts';
import type { Registry } from '../../registry/index.ts';
import { expectAllReplay } from './product/plans.ts';
import { runToEnd, specOf, type RunSetting } from './product/runs.ts';
import { setStage, type Stage } from './product/stage.ts';

const KIB = 1_024;
/** Bounds of activity-contract.ts, in bytes. */
const CALL_MAX = { plan: 2 * KIB, execute: 512, other: 64 * KIB };
const ANSWER_MAX = { plan: 3 * KIB, execute: KIB, other: 64 * KIB };

/** Events as the service sends them, beyond what lines are made of. */
type AnyEvent = HistoryEvent & {
  readonly workflowTaskScheduledEventAttributes?: object | null;
  readonly workflowTaskStartedEventAttributes?: object | null;
  readonly workflowTaskCompletedEventAttributes?: object | null;
  readonly activityTaskStartedEventAttributes?: { scheduledEventId?: unknown } | null;
};

interface Recorded {
  readonly events: AnyEvent[];
  readonly lines: HistoryLine[];
  readonly bytes: number;
}

let stage: Stage;
let setting: RunSetting;
let executions: Recorded[];

beforeAll(async () => {
  stage = await setStage(inject('temporal'));
  const where = { dataset: stage.dataset, layer: stage.layer, sink: stage.sink('budget') };
  setting = {
    runId: 'budget',
    chunkRows: 2_048,
    spec: specOf({ ...where, shards: 1 }),
    tuning: { sealPartsMax: 32, shardEventsMax: 500 },
  };
  const worker = await stage.startWorker({ hostId: 'a-host-with-a-rather-long-name' });
  await runToEnd(stage.client, setting);
  await worker.stop();
  const chain = await executionChain(stage.client, 'tileloom/budget/shard-0');
  executions = await Promise.all(chain.map((execution) => record(execution)));
});
afterAll(async () => {
  await expectAllReplay(stage);
  await stage.close();
});

async function record(execution: { workflowId: string; runId: string }): Promise<Recorded> {
  const events: AnyEvent[] = [];
  const lines: HistoryLine[] = [];
  const reader = new LineReader(execution.workflowId, execution.runId);
  for await (const event of fetchEvents(stage.client, execution)) {
    events.push(event);
    const line = reader.push(event);
    if (line !== null) lines.push(line);
  }
  const { workflowId, runId } = execution;
  const description = await stage.client.workflow.getHandle(workflowId, runId).describe();
  return { events, lines, bytes: description.historySize ?? Number.NaN };
}

const linesOfAll = (): HistoryLine[] => executions.flatMap(({ lines }) => lines);
const plansOf = (lines: readonly HistoryLine[]): PlanLine[] =>
  lines.filter((line) => line.kind === 'plan');

/** Name of the activity that each event of an activity belongs to. */
function activitiesOf(events: readonly AnyEvent[]): Map<AnyEvent, string> {
  const names = new Map<number, string>();
  const owners = new Map<AnyEvent, string>();
  for (const event of events) {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) {
      const name = scheduled.activityType?.name ?? '';
      names.set(Number(event.eventId), name);
      owners.set(event, name);
    }
    const later =
      event.activityTaskStartedEventAttributes ??
      event.activityTaskCompletedEventAttributes ??
      event.activityTaskFailedEventAttributes ??
      event.activityTaskTimedOutEventAttributes;
    if (later) owners.set(event, names.get(Number(later.scheduledEventId)) ?? '');
  }
  return owners;
}

describe('the history of a real run', () => {
  test('went through continue-as-new and holds a plan for each chunk', () => {
    expect(executions.length).toBeGreaterThan(1);
    // On a busy machine a plan may be lost (a lease that expired, a host that was late): it is made again.
    const made = plansOf(linesOfAll()).flatMap(({ answer }) =>
      answer !== null && 'planId' in answer.decision ? [answer.decision.planId] : [],
    );
    const executed = linesOfAll().flatMap((line) =>
      line.kind === 'execute' ? [line.order.planId] : [],
    );
    expect(made.length).toBeGreaterThanOrEqual(70);
    expect(executed.toSorted()).toEqual(made.toSorted());
  });

  test('spends at most 12 events a chunk on plan and execute with their workflow tasks', () => {
    for (const { events, lines } of executions) {
      const owners = activitiesOf(events);
      const working = [...owners.values()].filter((name) => ['plan', 'execute'].includes(name));
      const calls = events.filter((event) => event.activityTaskScheduledEventAttributes);
      const others = calls.length - lines.length;
      const tasks = events.filter(
        (event) =>
          event.workflowTaskScheduledEventAttributes ??
          event.workflowTaskStartedEventAttributes ??
          event.workflowTaskCompletedEventAttributes,
      );
      const chunks = plansOf(lines).length;
      // Another activity and the start of the execution have a workflow task of three events each.
      const spent = working.length + tasks.length - 3 * (others + 1);
      expect(spent / chunks).toBeLessThanOrEqual(12);
    }
  });

  test('grows by at most 8 KiB a chunk, everything included', () => {
    for (const { bytes, lines } of executions) {
      expect(bytes).toBeGreaterThan(0);
      expect(bytes / plansOf(lines).length).toBeLessThanOrEqual(8 * KIB);
    }
  });

  test('keeps every payload within the bounds of the contract', () => {
    const worst = new Map<string, number>();
    const sizeOf = (list: { payloads?: readonly { data?: Uint8Array | null }[] | null } | null) =>
      (list?.payloads ?? []).reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
    for (const { events } of executions) {
      const owners = activitiesOf(events);
      for (const [event, name] of owners) {
        const kind = name === 'plan' || name === 'execute' ? name : 'other';
        const call = sizeOf(event.activityTaskScheduledEventAttributes?.input ?? null);
        const answer = sizeOf(event.activityTaskCompletedEventAttributes?.result ?? null);
        worst.set(`${kind} call`, Math.max(worst.get(`${kind} call`) ?? 0, call));
        worst.set(`${kind} answer`, Math.max(worst.get(`${kind} answer`) ?? 0, answer));
      }
    }
    const shown = JSON.stringify([...worst]);
    for (const kind of ['plan', 'execute', 'other'] as const) {
      expect(worst.get(`${kind} call`), shown).toBeLessThanOrEqual(CALL_MAX[kind]);
      expect(worst.get(`${kind} answer`), shown).toBeLessThanOrEqual(ANSWER_MAX[kind]);
    }
  });

  test('recomputes every plan, byte by byte, with the policy and registry of the sink', () => {
    const plans = plansOf(linesOfAll());
    for (const { call, answer } of plans) {
      if (answer === null) throw new Error('every plan of this run succeeded');
      const input = completeRequest(call.request, answer.snapshot, answer);
      const policy = recorded<Policy>(`policy-${answer.policy.digest}.json`);
      const registry = recorded<Registry>(`registry-${answer.registry.digest}.json`);
      expect(call.request.policyId).toBe(policy.id);
      const again = policyFrom(policy.data);
      expect(again.digest).toBe(answer.policy.digest);
      expect(canonicalJson(plan(input, again, registry))).toBe(canonicalJson(answer.decision));
    }
    expect(plans.length).toBeGreaterThan(0);
  });

  test('is exported to the sink, line by line, once', () => {
    const folder = join(setting.spec.sink.path, 'records');
    const exported = readdirSync(folder)
      .filter((name) => name.startsWith('shard-') && name.endsWith('.jsonl'))
      .toSorted()
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .filter((line) => line !== '');
    expect(exported).toEqual(linesOfAll().map((line) => JSON.stringify(line)));
  });
});

function recorded<T>(name: string): T {
  return JSON.parse(readFileSync(join(setting.spec.sink.path, 'records', name), 'utf8')) as T;
}
