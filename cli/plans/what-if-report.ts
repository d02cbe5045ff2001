// Owns the sums of a what-if: what changes for each chunk, and for the run in total.
//
// I1. Chunks that ran count towards totals, each with the rows it had, so that before, after and measured
//     speak of the same rows.
// I2. A new plan that takes another part of the reservation than the recorded one is scaled to the rows of
//     the chunk; how many chunks that concerns is counted and shown.
import type { PlanRecord } from '../../history/index.ts';
import {
  changedReasons,
  type Plan,
  type PlanDecision,
  type Reason,
  type WhatIf,
} from '../../planner/index.ts';
import { PredictionErrors, type PredictionError } from './prediction-error.ts';

/** A decision in the fields that people compare. */
export interface Choice {
  readonly variant: string;
  readonly runtime: string;
  readonly deviceId: string;
  readonly precision: string;
  readonly chunkTiles: number;
  readonly predictedSeconds: number;
  readonly predictedPeakBytes: number;
}

export interface WhatIfItem {
  readonly shard: number;
  readonly chunk: number;
  readonly attempt: number;
  readonly outcome: PlanRecord['outcome'];
  readonly changed: readonly string[];
  /** Null for a refusal, whose code is beside it. */
  readonly before: Choice | null;
  readonly after: Choice | null;
  readonly refusedBefore: string | null;
  readonly refusedAfter: string | null;
  /** Seconds of the chunk's own rows, before and after; null for plans that did not run. */
  readonly secondsBefore: number | null;
  readonly secondsAfter: number | null;
  readonly secondsMeasured: number | null;
  /** Whether `secondsAfter` is scaled from another number of rows. */
  readonly scaled: boolean;
  /** Reasons that only the recorded, and only the new decision gives. */
  readonly reasonsBefore: readonly Reason[];
  readonly reasonsAfter: readonly Reason[];
}

export interface WhatIfTotals {
  readonly plans: number;
  readonly changed: number;
  /** Plans by the field in which they change. */
  readonly changedFields: Readonly<Record<string, number>>;
  /** Chunks that ran and would be refused: totals after leave them out. */
  readonly refused: number;
  readonly scaled: number;
  readonly chunks: number;
  readonly secondsBefore: number;
  readonly secondsAfter: number;
  /** Predicted before, for the chunks that are not refused after: comparable with `secondsAfter`. */
  readonly secondsBeforeComparable: number;
  readonly secondsMeasured: number;
  readonly peakBytesBefore: number;
  readonly peakBytesAfter: number;
  readonly peakBytesMeasured: number;
}

/** Adds up what-ifs, record by record. */
export class WhatIfSum {
  readonly #errors = new PredictionErrors();
  readonly #totals = {
    ...{ plans: 0, changed: 0, refused: 0, scaled: 0, chunks: 0 },
    ...{ secondsBefore: 0, secondsAfter: 0, secondsBeforeComparable: 0, secondsMeasured: 0 },
    ...{ peakBytesBefore: 0, peakBytesAfter: 0, peakBytesMeasured: 0 },
  };
  readonly #fields = new Map<string, number>();

  /** @returns the record's own line of the report */
  add(record: PlanRecord, result: WhatIf): WhatIfItem {
    const totals = this.#totals;
    const item = itemOf(record, result);
    const ownPlan = record.leasedFrom === null;
    if (ownPlan) {
      totals.plans += 1;
      if (item.changed.length > 0) totals.changed += 1;
      for (const field of item.changed) {
        this.#fields.set(field, (this.#fields.get(field) ?? 0) + 1);
      }
    }
    if (record.outcome === 'executed') this.#addChunk(record, item);
    return item;
  }

  get totals(): WhatIfTotals {
    return { ...this.#totals, changedFields: Object.fromEntries(this.#fields) };
  }

  get error(): PredictionError | null {
    return this.#errors.summary();
  }

  #addChunk({ execution }: PlanRecord, item: WhatIfItem): void {
    const totals = this.#totals;
    const { before, after, secondsBefore, secondsAfter, secondsMeasured } = item;
    totals.chunks += 1;
    totals.secondsBefore += secondsBefore ?? 0;
    totals.secondsMeasured += secondsMeasured ?? 0;
    totals.peakBytesBefore = Math.max(totals.peakBytesBefore, before?.predictedPeakBytes ?? 0);
    totals.peakBytesAfter = Math.max(totals.peakBytesAfter, after?.predictedPeakBytes ?? 0);
    const peak = execution?.answer?.peakBytes ?? 0;
    totals.peakBytesMeasured = Math.max(totals.peakBytesMeasured, peak);
    if (secondsBefore !== null && secondsMeasured !== null) {
      this.#errors.add(secondsBefore, secondsMeasured);
    }
    if (secondsAfter === null) {
      totals.refused += 1;
      return;
    }
    totals.secondsAfter += secondsAfter;
    totals.secondsBeforeComparable += secondsBefore ?? 0;
    if (item.scaled) totals.scaled += 1;
  }
}

function itemOf(record: PlanRecord, result: WhatIf): WhatIfItem {
  const { shard, chunk, attempt, outcome, execution } = record;
  const before = planOf(record.decision);
  const after = planOf(result.decision);
  const reasons =
    record.decision === null
      ? { before: [], after: result.decision.reasons }
      : changedReasons(record.decision, result.decision);
  const rows = execution?.answer?.part.rows ?? null;
  const scaledTo = (plan: Plan | null, seconds: number | null, planRows: number): number | null =>
    plan === null || seconds === null || rows === null
      ? null
      : planRows === 0
        ? seconds
        : (seconds / planRows) * rows;
  return {
    ...{ shard, chunk, attempt, outcome },
    changed: result.changed,
    before: choiceOf(before),
    after: choiceOf(after),
    refusedBefore: refusalOf(record.decision),
    refusedAfter: refusalOf(result.decision),
    secondsBefore: scaledTo(before, before?.predicted.seconds ?? null, result.rowsBefore),
    secondsAfter: scaledTo(after, after?.predicted.seconds ?? null, result.rowsAfter),
    secondsMeasured: execution?.answer?.seconds.work ?? null,
    scaled: after !== null && before !== null && result.rowsAfter !== result.rowsBefore,
    reasonsBefore: reasons.before,
    reasonsAfter: reasons.after,
  };
}

export function choiceOf(plan: Plan | null): Choice | null {
  return plan === null
    ? null
    : {
        variant: plan.variant,
        runtime: plan.runtime,
        deviceId: plan.deviceId,
        precision: plan.precision.compute,
        chunkTiles: plan.chunkTiles,
        predictedSeconds: plan.predicted.seconds,
        predictedPeakBytes: plan.predicted.peakBytes,
      };
}

function planOf(decision: PlanDecision | null): Plan | null {
  return decision?.schema === 'tileloom.plan/1' ? decision : null;
}

function refusalOf(decision: PlanDecision | null): string | null {
  return decision?.schema === 'tileloom.plan-refusal/1' ? decision.code : null;
}
