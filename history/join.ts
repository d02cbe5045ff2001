// Owns plan records: a plan's input, its decision and what came of it, joined from plan lines.
//
// I1. Shards in the order of the lines; within a shard by chunk, then in the order of planning.
// I2. One record for each plan that was asked for, and one for each further chunk that ran under a
//     leased plan.
// I3. Bounded: a chunk waits for the answer of its execute, at most `WAITING_MAX` chunks do, and no
//     later than the end of its execution: lanes are drained then. A chunk that waited too long is given
//     out as superseded; should its execute still come, that is a record of its own.
import { completeRequest, type Plan, type PlanDecision, type PlanInput } from '../planner/index.ts';
import type { ExecuteLine, HistoryLine, PlanLine } from './plan-lines.ts';

/** `superseded`: planned, but not executed (so far): an older epoch, a pause, or the run ended. */
export type PlanOutcome = 'executed' | 'failed' | 'superseded' | 'refused' | 'plan-failed';

export interface PlanRecord {
  readonly schema: 'tileloom.plan-record/1';
  readonly shard: number;
  readonly chunk: number;
  readonly attempt: number;
  readonly outcome: PlanOutcome;
  /** Chunk whose plan this one ran under by its lease; null: its own. */
  readonly leasedFrom: number | null;
  /** Put together when it is read. Null when the plan is not among the lines, or was not made. */
  readonly input: PlanInput | null;
  readonly decision: PlanDecision | null;
  readonly planned: PlanLine | null;
  readonly execution: ExecuteLine | null;
}

/** Chunks that may wait at once; one execution of a shard has some hundreds of them. */
export const WAITING_MAX = 1_024;

export interface JoinOptions {
  /** Hears, after each line, how many lines are kept: tests measure the bound with it. */
  readonly onKept?: (lines: number) => void;
}

/** Joins the lines of a run, given in their one order, into plan records. */
export async function* joinRecords(
  lines: AsyncIterable<HistoryLine> | Iterable<HistoryLine>,
  options: JoinOptions = {},
): AsyncGenerator<PlanRecord> {
  let window = new ExecutionWindow();
  let runId: string | null = null;
  for await (const line of lines) {
    if (line.runId !== runId) {
      yield* window.drain();
      window = new ExecutionWindow();
      runId = line.runId;
    }
    window.push(line);
    yield* window.ready();
    options.onKept?.(window.kept);
  }
  yield* window.drain();
}

interface Waiting {
  readonly plans: PlanLine[];
  execution: ExecuteLine | null;
}

/** Chunks of one execution of a shard that are not given out yet, and the plans they may run under. */
class ExecutionWindow {
  readonly #waiting = new Map<number, Waiting>();
  /** Plans by id, oldest first; as many as chunks may wait. */
  readonly #plans = new Map<string, PlanLine>();
  readonly #chunks: number[] = [];

  get kept(): number {
    return this.#plans.size + this.#waiting.size;
  }

  push(line: HistoryLine): void {
    const { chunk } = line.kind === 'plan' ? line.call.request.where : line.order;
    const waiting = this.#waiting.get(chunk) ?? { plans: [], execution: null };
    if (!this.#waiting.has(chunk)) {
      this.#waiting.set(chunk, waiting);
      insertSorted(this.#chunks, chunk);
    }
    if (line.kind === 'execute') {
      waiting.execution = line;
      return;
    }
    waiting.plans.push(line);
    const plan = planOf(line);
    if (plan !== null) this.#plans.set(plan.planId, line);
    const [oldest] = this.#plans.keys();
    if (this.#plans.size > WAITING_MAX && oldest !== undefined) this.#plans.delete(oldest);
  }

  *ready(): Generator<PlanRecord> {
    for (;;) {
      const [chunk] = this.#chunks;
      const waiting = chunk === undefined ? undefined : this.#waiting.get(chunk);
      if (chunk === undefined || waiting === undefined) return;
      if (!isSettled(waiting) && this.#chunks.length <= WAITING_MAX) return;
      yield* this.#take(chunk, waiting);
    }
  }

  *drain(): Generator<PlanRecord> {
    for (const chunk of [...this.#chunks]) {
      const waiting = this.#waiting.get(chunk);
      if (waiting !== undefined) yield* this.#take(chunk, waiting);
    }
  }

  *#take(chunk: number, { plans, execution }: Waiting): Generator<PlanRecord> {
    this.#chunks.shift();
    this.#waiting.delete(chunk);
    const own = plans.find((line) => planOf(line)?.planId === execution?.order.planId);
    for (const line of plans) yield recordOf(line, line === own ? execution : null, null);
    if (execution === null || own !== undefined) return;
    const leased = this.#plans.get(execution.order.planId) ?? null;
    const from = leased === null ? null : leased.call.request.where.chunk;
    yield recordOf(leased, execution, from);
  }
}

/** A chunk is settled when it ran, or when its last plan led to nothing that could run. */
function isSettled({ plans, execution }: Waiting): boolean {
  const last = plans.at(-1);
  return execution !== null || (last !== undefined && planOf(last) === null);
}

function recordOf(
  planned: PlanLine | null,
  execution: ExecuteLine | null,
  leasedFrom: number | null,
): PlanRecord {
  const decision = planned?.answer?.decision ?? null;
  const place = execution?.order ?? planned?.call.request.where;
  return {
    schema: 'tileloom.plan-record/1',
    shard: place?.shard ?? 0,
    chunk: place?.chunk ?? 0,
    attempt: place?.attempt ?? 1,
    outcome: outcomeOf(decision, execution),
    leasedFrom,
    get input() {
      return planned === null ? null : inputOf(planned);
    },
    decision,
    planned,
    execution,
  };
}

function outcomeOf(decision: PlanDecision | null, execution: ExecuteLine | null): PlanOutcome {
  if (execution !== null) return execution.answer === null ? 'failed' : 'executed';
  if (decision === null) return 'plan-failed';
  return decision.schema === 'tileloom.plan/1' ? 'superseded' : 'refused';
}

/** The whole input of a plan, as the activity completed it; null when there was no answer. */
export function inputOf({ call, answer }: PlanLine): PlanInput | null {
  if (answer === null) return null;
  const { snapshot, policy, registry } = answer;
  return completeRequest(call.request, snapshot, { policy, registry });
}

function planOf({ answer }: PlanLine): Plan | null {
  const decision = answer?.decision;
  return decision?.schema === 'tileloom.plan/1' ? decision : null;
}

function insertSorted(sorted: number[], value: number): void {
  let at = sorted.length;
  while (at > 0 && (sorted[at - 1] ?? 0) > value) at -= 1;
  sorted.splice(at, 0, value);
}
