// Owns synthetic plan lines for tests and benches: plans made by the planner itself, on inputs of the
// planner's fixtures, with executions that take what was predicted or another time.
import type { ExecuteLine, HistoryLine, PlanLine } from '../../history/index.ts';
import { plan, policyById, type Plan, type PlanInput } from '../../planner/index.ts';
import { REGISTRY, type Registry } from '../../registry/index.ts';
import { makeInput, type InputChanges } from '../planner/fixtures.ts';

export interface LineSetting {
  readonly shard?: number;
  readonly chunk: number;
  /** Round of planning within the chunk. */
  readonly round?: number;
  readonly runId?: string;
  readonly eventId?: number;
  readonly changes?: InputChanges;
  readonly registry?: Registry;
}

function base(kind: 'plan' | 'execute', setting: LineSetting) {
  const { shard = 0, chunk, round = 0, runId = 'execution-1', eventId = chunk * 12 + 6 } = setting;
  return {
    schema: 'tileloom.plan-line/1' as const,
    workflowId: `tileloom/run-1/shard-${shard}`,
    runId,
    eventId: kind === 'plan' ? eventId : eventId + 5,
    activityId: `${kind}/${chunk}.${round}`,
    scheduledAt: 1_700_000_000_000 + chunk * 1_000,
    closedAt: 1_700_000_000_500 + chunk * 1_000,
    failure: null,
  };
}

export function inputFor({ shard = 0, chunk, changes = {}, registry }: LineSetting): PlanInput {
  const where = { shard, chunk, firstTile: chunk * 16, ...changes.where };
  return makeInput({ ...changes, where }, registry ?? REGISTRY);
}

/** The line of a plan call that was answered. */
export function planLine(setting: LineSetting): PlanLine {
  const input = inputFor(setting);
  const { pins, excluded, snapshot, policy, registry, ...rest } = input;
  const decision = plan(input, policyById(policy.id), setting.registry ?? REGISTRY);
  const requestPins = pins.winners.map(({ id, aspect, value, epoch }) => ({
    id,
    aspect,
    value,
    epoch,
  }));
  return {
    ...base('plan', setting),
    kind: 'plan',
    call: {
      leaseId: 'lease-1',
      registryDigest: null,
      request: {
        ...rest,
        pins: requestPins,
        excluded: excluded.map(({ variant, deviceId, failure }) => ({
          variant,
          deviceId,
          failure,
        })),
        policyId: policy.id,
      },
    },
    answer: { decision, snapshot, policy, registry },
  };
}

/** The plan of a line; fails where it is a refusal. */
export function planIn(line: PlanLine): Plan {
  const decision = line.answer?.decision;
  if (decision?.schema !== 'tileloom.plan/1') throw new Error('the line holds no plan');
  return decision;
}

/** The line of an execute under a plan. */
export function executeLine(
  setting: LineSetting,
  planned: PlanLine,
  outcome: { readonly seconds: number; readonly rows?: number } | { readonly failure: string },
): ExecuteLine {
  const made = planIn(planned);
  const firstTile = setting.chunk * 16;
  const endTile = firstTile + made.chunkTiles;
  const rows =
    'rows' in outcome && outcome.rows !== undefined ? outcome.rows : made.chunkTiles * 65_536;
  const { work } = inputFor(setting);
  const order = {
    ...{ runId: 'run-1', contextPath: '/sink/records/context.json', contextDigest: 'c0ffee' },
    ...{ leaseId: 'lease-1', shard: setting.shard ?? 0, chunk: setting.chunk, attempt: 1 },
    ...{ firstTile, endTile, variant: made.variant, precision: made.precision.compute },
    ...{ deviceId: made.deviceId, planId: made.planId },
  };
  const line = { ...base('execute', setting), kind: 'execute' as const, order };
  if ('failure' in outcome) {
    return { ...line, answer: null, failure: { type: outcome.failure, message: 'it broke' } };
  }
  const { seconds } = outcome;
  const file = `${order.shard}-${firstTile}-${endTile - 1}-a1b2c3d4.arrow`;
  return {
    ...line,
    answer: {
      part: { firstTile, endTile, file, sha256: 'ab'.repeat(32), bytes: rows, rows },
      ...{ hits: rows, outside: 0, invalid: 0, deviceClass: 'cpu-avx2', image: 'cd'.repeat(32) },
      peakBytes: 150_000_000 + work.measures,
      seconds: { queued: 0, work: seconds, read: seconds / 4, kernel: seconds / 2, write: 0 },
    },
  };
}

/** Lines of chunks that ran as predicted, one after the other, in executions of `perExecution` chunks. */
export function* wholeRun(
  chunks: number,
  setting: {
    readonly perExecution?: number;
    readonly shards?: number;
    readonly changes?: InputChanges;
  } = {},
): Generator<HistoryLine> {
  const { perExecution = 300, shards = 1, changes = {} } = setting;
  for (let shard = 0; shard < shards; shard += 1) {
    for (let chunk = 0; chunk < chunks; chunk += 1) {
      const runId = `execution-${shard}-${Math.floor(chunk / perExecution)}`;
      const place = { shard, chunk, runId, changes };
      const planned = planLine(place);
      yield planned;
      yield executeLine(place, planned, { seconds: planIn(planned).predicted.seconds });
    }
  }
}
