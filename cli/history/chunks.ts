// Owns the list of chunks that a run's plan lines amount to: one row for each execution and for
// each plan that was not executed, with the plan's reasons and what came of it.
import type { Plan, PlanDecision, PlanRefusal } from '../../planner/index.ts';
import type { ExecuteLine, HistoryLine, PlanLine } from '../../history/index.ts';

export type ChunkState = 'done' | 'failed' | 'superseded' | 'refused' | 'plan-failed';

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
  readonly state: ChunkState;
  readonly rows: number | null;
  readonly predictedSeconds: number | null;
  readonly workSeconds: number | null;
  readonly queuedSeconds: number | null;
  readonly rowsPerSecond: number | null;
  readonly reasons: readonly string[];
  readonly failure: string | null;
  readonly scheduledAt: number | null;
}

export function isPlan(decision: PlanDecision): decision is Plan {
  return decision.schema === 'tileloom.plan/1';
}

export function isRefusal(decision: PlanDecision): decision is PlanRefusal {
  return decision.schema === 'tileloom.plan-refusal/1';
}

/** What a row needs to know of its plan. */
interface PlanFacts {
  readonly row: ChunkRow;
  used: boolean;
}

/** Folds plan lines into rows, ordered by shard, chunk and attempt. */
export async function chunkRows(lines: AsyncIterable<HistoryLine>): Promise<ChunkRow[]> {
  const plans = new Map<string, PlanFacts>();
  const rows: ChunkRow[] = [];
  for await (const line of lines) {
    if (line.kind === 'execute') {
      const plan = plans.get(line.order.planId);
      if (plan !== undefined) {
        plan.used = true;
      }
      rows.push(executeRow(line, plan?.row ?? null));
    } else {
      const row = planRow(line);
      if (row.planId === null) {
        rows.push(row);
      } else {
        plans.set(row.planId, { row, used: false });
      }
    }
  }
  const unused = [...plans.values()].filter((plan) => !plan.used).map((plan) => plan.row);
  return [...rows, ...unused].toSorted(
    (left, right) =>
      left.shard - right.shard || left.chunk - right.chunk || left.attempt - right.attempt,
  );
}

function planRow(line: PlanLine): ChunkRow {
  const { where } = line.call.request;
  const decision = line.answer?.decision ?? null;
  const plan = decision !== null && isPlan(decision) ? decision : null;
  return {
    shard: where.shard,
    chunk: where.chunk,
    attempt: where.attempt,
    epoch: where.epoch,
    firstTile: where.firstTile,
    endTile: where.firstTile + (plan?.chunkTiles ?? where.reservedTiles),
    planId: plan?.planId ?? null,
    variant: plan?.variant ?? null,
    precision: plan?.precision.compute ?? null,
    deviceId: plan?.deviceId ?? null,
    host: line.answer?.snapshot.host ?? null,
    state: decision === null ? 'plan-failed' : plan === null ? 'refused' : 'superseded',
    rows: null,
    predictedSeconds: plan?.predicted.seconds ?? null,
    workSeconds: null,
    queuedSeconds: null,
    rowsPerSecond: null,
    reasons: (decision?.reasons ?? []).map((reason) => reason.code),
    failure: failureText(line),
    scheduledAt: line.scheduledAt,
  };
}

function executeRow(line: ExecuteLine, plan: ChunkRow | null): ChunkRow {
  const { order, answer } = line;
  const work = answer?.seconds.work ?? null;
  return {
    shard: order.shard,
    chunk: order.chunk,
    attempt: order.attempt,
    epoch: plan?.epoch ?? null,
    firstTile: order.firstTile,
    endTile: order.endTile,
    planId: order.planId,
    variant: order.variant,
    precision: order.precision,
    deviceId: order.deviceId,
    host: plan?.host ?? null,
    state: answer === null ? 'failed' : 'done',
    rows: answer?.part.rows ?? null,
    predictedSeconds: plan?.predictedSeconds ?? null,
    workSeconds: work,
    queuedSeconds: answer?.seconds.queued ?? null,
    rowsPerSecond: answer !== null && work !== null && work > 0 ? answer.part.rows / work : null,
    reasons: plan?.reasons ?? [],
    failure: failureText(line),
    scheduledAt: line.scheduledAt,
  };
}

function failureText(line: HistoryLine): string | null {
  return line.failure === null ? null : `${line.failure.type}: ${line.failure.message}`;
}
