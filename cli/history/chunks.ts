// Owns the rows that a run's plan records amount to: one for each plan and each execution, with the
// reasons, what came of it, and what changed since the chunk before.
//
// I1. `changes` compares with the last row of the same shard that had a plan of its own: the first such
//     row changes nothing.
import { joinRecords, type HistoryLine, type PlanRecord } from '../../history/index.ts';
import type { Plan, PlanDecision } from '../../planner/index.ts';

export type ChunkState = 'done' | 'failed' | 'superseded' | 'refused' | 'plan-failed';

/** What may change from one chunk to the next. */
export type ChunkChange = 'variant' | 'size' | 'pin' | 'policy' | 'epoch';

export interface ChunkRow {
  readonly shard: number;
  readonly chunk: number;
  readonly attempt: number;
  readonly epoch: number | null;
  readonly firstTile: number;
  /** One past the last tile. */
  readonly endTile: number;
  readonly planId: string | null;
  readonly variant: string | null;
  readonly precision: string | null;
  readonly deviceId: string | null;
  readonly host: string | null;
  readonly policy: string | null;
  readonly state: ChunkState;
  /** Chunk whose plan it ran under by a lease; null: its own. */
  readonly leasedFrom: number | null;
  readonly rows: number | null;
  readonly predictedSeconds: number | null;
  readonly workSeconds: number | null;
  readonly queuedSeconds: number | null;
  readonly rowsPerSecond: number | null;
  readonly predictedPeakBytes: number | null;
  readonly peakBytes: number | null;
  /** Codes of the plan's reasons. */
  readonly reasons: readonly string[];
  /** Ids of the pins that the plan cites. */
  readonly pins: readonly string[];
  readonly changes: readonly ChunkChange[];
  readonly failure: string | null;
  readonly scheduledAt: number | null;
}

export function isPlan(decision: PlanDecision): decision is Plan {
  return decision.schema === 'tileloom.plan/1';
}

/** Turns plan lines into rows, one at a time, by shard, chunk and order of planning. */
export async function* streamRows(
  lines: AsyncIterable<HistoryLine> | Iterable<HistoryLine>,
): AsyncGenerator<ChunkRow> {
  let before: ChunkRow | null = null;
  for await (const record of joinRecords(lines)) {
    const row = rowOf(record);
    const isComparable = before !== null && before.shard === row.shard;
    yield { ...row, changes: isComparable && before !== null ? changesOf(before, row) : [] };
    if (row.planId !== null) {
      before = row;
    }
  }
}

/** All rows at once, for tables. */
export async function chunkRows(
  lines: AsyncIterable<HistoryLine> | Iterable<HistoryLine>,
): Promise<ChunkRow[]> {
  const rows: ChunkRow[] = [];
  for await (const row of streamRows(lines)) {
    rows.push(row);
  }
  return rows;
}

function changesOf(before: ChunkRow, row: ChunkRow): ChunkChange[] {
  if (row.planId === null) {
    return [];
  }
  const sizeOf = ({ firstTile, endTile }: ChunkRow): number => endTile - firstTile;
  const changed: Readonly<Record<ChunkChange, boolean>> = {
    variant: before.variant !== row.variant || before.deviceId !== row.deviceId,
    size: sizeOf(before) !== sizeOf(row),
    pin: before.pins.join() !== row.pins.join(),
    policy: before.policy !== row.policy,
    epoch: before.epoch !== row.epoch,
  };
  return (Object.keys(changed) as ChunkChange[]).filter((change) => changed[change]);
}

type BareRow = Omit<ChunkRow, 'changes'>;

function rowOf(record: PlanRecord): BareRow & { changes: readonly ChunkChange[] } {
  return { ...planPart(record), ...executionPart(record), changes: [] };
}

const STATES = {
  executed: 'done',
  failed: 'failed',
  superseded: 'superseded',
  refused: 'refused',
  'plan-failed': 'plan-failed',
} as const satisfies Record<PlanRecord['outcome'], ChunkState>;

function planPart(record: PlanRecord): BareRow {
  const { shard, chunk, attempt, outcome, planned, decision, leasedFrom } = record;
  const where = planned?.call.request.where;
  const plan = decision !== null && isPlan(decision) ? decision : null;
  const firstTile = where?.firstTile ?? 0;
  return {
    ...{ shard, chunk, attempt, leasedFrom },
    epoch: where?.epoch ?? null,
    firstTile,
    endTile: firstTile + (plan?.chunkTiles ?? where?.reservedTiles ?? 0),
    planId: plan?.planId ?? null,
    variant: plan?.variant ?? null,
    precision: plan?.precision.compute ?? null,
    deviceId: plan?.deviceId ?? null,
    host: planned?.answer?.snapshot.host ?? null,
    policy: planned?.answer?.policy?.id ?? null,
    state: STATES[outcome],
    rows: null,
    predictedSeconds: plan?.predicted.seconds ?? null,
    workSeconds: null,
    queuedSeconds: null,
    rowsPerSecond: null,
    predictedPeakBytes: plan?.predicted.peakBytes ?? null,
    peakBytes: null,
    reasons: (decision?.reasons ?? []).map((reason) => reason.code),
    pins: (decision?.reasons ?? []).flatMap(({ code, params }) =>
      code === 'PIN_APPLIED' && params !== undefined ? [String(params['pin'])] : [],
    ),
    failure: failureText(planned),
    scheduledAt: planned?.scheduledAt ?? null,
  };
}

function executionPart(record: PlanRecord): Partial<BareRow> {
  const { execution, leasedFrom, decision } = record;
  if (execution === null) {
    return {};
  }
  const { order, answer } = execution;
  const leased = leasedFrom !== null && decision !== null && isPlan(decision) ? decision : null;
  const work = answer?.seconds.work ?? null;
  return {
    firstTile: order.firstTile,
    endTile: order.endTile,
    planId: order.planId,
    variant: order.variant,
    precision: order.precision,
    deviceId: order.deviceId,
    ...(leased === null ? {} : { predictedSeconds: secondsFor(leased, order) }),
    rows: answer?.part.rows ?? null,
    workSeconds: work,
    queuedSeconds: answer?.seconds.queued ?? null,
    rowsPerSecond: answer !== null && work !== null && work > 0 ? answer.part.rows / work : null,
    peakBytes: answer?.peakBytes ?? null,
    failure: failureText(execution),
    scheduledAt: execution.scheduledAt,
  };
}

/** A leased plan spoke of its own chunk; a further one may have more or fewer tiles. */
function secondsFor(plan: Plan, order: { firstTile: number; endTile: number }): number {
  return (plan.predicted.seconds / plan.chunkTiles) * (order.endTile - order.firstTile);
}

function failureText(line: HistoryLine | null): string | null {
  return line === null || line.failure === null
    ? null
    : `${line.failure.type}: ${line.failure.message}`;
}
