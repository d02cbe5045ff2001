// Owns "what if": a recorded input with other circumstances, planned anew, and what that would have
// changed. It computes plans only: nothing is executed or written.
//
// I1. Circumstances that are not named stay as recorded, measured speeds of the run included: a run
//     that had gone another way would have learned other speeds.
// I2. The reservation stays as recorded. Where the new plan takes another part of it, its prediction is
//     scaled to the rows of the recorded plan, so that totals speak of the same rows.
import { isSameJson } from '../core/index.ts';
import type { Registry } from '../registry/index.ts';
import { PlannerError } from './errors.ts';
import { PIN_ASPECTS } from './pins.ts';
import { plan, plannedRows, type TextDigest } from './plan.ts';
import type { Policy } from './policy.ts';
import { isResidentHere } from './residency.ts';
import type {
  Pin,
  Plan,
  PlanDecision,
  PlanInput,
  Reason,
  RequestedMode,
  RequestedPrecision,
} from './types.ts';

/** A field of the plan input by its path: `snapshot.devices.0.memFreeBytes`. */
export interface InputEdit {
  readonly path: string;
  readonly value: unknown;
}

/** Circumstances to change; what is absent stays as recorded. */
export interface WhatIfChanges {
  readonly policy?: Policy;
  readonly registry?: Registry;
  /** Leave recorded pins out. */
  readonly dropPins?: boolean;
  /** Pins that win over every other of their aspect. */
  readonly pins?: readonly Pin[];
  readonly mode?: RequestedMode;
  readonly precision?: RequestedPrecision;
  readonly memoryBytesMax?: number;
  readonly edits?: readonly InputEdit[];
}

/** Parts of an input that may be edited by path; place, pins, policy and registry have their own ways. */
export const EDITABLE: readonly string[] = Object.freeze([
  'snapshot',
  'work',
  'limits',
  'requested',
  'history',
]);

export interface WhatIf {
  readonly input: PlanInput;
  readonly decision: PlanDecision;
  /** Fields of the choice that differ, of `CHOICE_FIELDS`. */
  readonly changed: readonly string[];
  /** Rows that the recorded and the new plan speak of; 0 for a refusal. */
  readonly rowsBefore: number;
  readonly rowsAfter: number;
  /** Predicted seconds of the recorded plan's rows, before and after; null for a refusal. */
  readonly secondsBefore: number | null;
  readonly secondsAfter: number | null;
}

/** What somebody would call another decision; predictions and reasons follow from these. */
export const CHOICE_FIELDS: readonly (keyof Plan)[] = Object.freeze([
  'runtime',
  'deviceId',
  'variant',
  'precision',
  'chunkTiles',
  'leaseChunks',
]);

/**
 * The recorded input under other circumstances.
 *
 * @param identity of the policy and registry to plan with
 * @throws {PlannerError} `PLAN_EDIT_INVALID` for an edit of a field that no input has, or of another type
 */
export function changedInput(
  recorded: PlanInput,
  changes: WhatIfChanges,
  identity: Pick<PlanInput, 'policy' | 'registry'>,
): PlanInput {
  const { mode, precision, memoryBytesMax } = changes;
  const { requested, limits } = recorded;
  const input: PlanInput = {
    ...recorded,
    requested: {
      ...requested,
      mode: mode ?? requested.mode,
      precision: precision ?? requested.precision,
    },
    limits: memoryBytesMax === undefined ? limits : { ...limits, memoryBytesMax },
    pins: changedPins(recorded, changes),
    policy: identity.policy,
    registry: identity.registry,
  };
  const edits = changes.edits ?? [];
  return withResidency(edits.reduce(editInput, input), edits);
}

/** What devices hold decides the residency of the work, unless the edits say it themselves. */
function withResidency(input: PlanInput, edits: readonly InputEdit[]): PlanInput {
  const { work, snapshot } = input;
  const aboutDevices = edits.some(({ path }) => path.startsWith('snapshot.devices'));
  const isSaid = edits.some(({ path }) => path === 'work.residency');
  if (!aboutDevices || isSaid || work.layer === undefined) {
    return input;
  }
  return {
    ...input,
    work: { ...work, residency: isResidentHere(snapshot, work) ? 'device' : 'host' },
  };
}

/**
 * Plans a recorded input anew under other circumstances.
 *
 * @param used policy and registry to plan with: the changed ones, or those of the record
 */
export function whatIf(
  recorded: { readonly input: PlanInput; readonly decision: PlanDecision },
  changes: WhatIfChanges,
  used: { readonly policy: Policy; readonly registry: Registry },
  digest?: TextDigest,
): WhatIf {
  const input = changedInput(recorded.input, changes, {
    policy: { id: used.policy.id, digest: used.policy.digest },
    registry: { digest: used.registry.digest },
  });
  const decision = plan(input, used.policy, used.registry, digest);
  const before = planOf(recorded.decision);
  const after = planOf(decision);
  const rowsBefore = before === null ? 0 : plannedRows(recorded.input, before.chunkTiles);
  const rowsAfter = after === null ? 0 : plannedRows(input, after.chunkTiles);
  const secondsBefore = before?.predicted.seconds ?? null;
  return {
    input,
    decision,
    changed: changedFields(recorded.decision, decision),
    rowsBefore,
    rowsAfter,
    secondsBefore,
    secondsAfter: scaledSeconds(after, rowsAfter, before === null ? rowsAfter : rowsBefore),
  };
}

/** Names of the fields of the choice in which two decisions differ; a refusal differs in `decision`. */
export function changedFields(before: PlanDecision, after: PlanDecision): readonly string[] {
  if (before.schema === 'tileloom.plan/1' && after.schema === 'tileloom.plan/1') {
    return CHOICE_FIELDS.filter((field) => !isSameJson(before[field], after[field]));
  }
  const isSameRefusal =
    before.schema === 'tileloom.plan-refusal/1' &&
    after.schema === 'tileloom.plan-refusal/1' &&
    before.code === after.code &&
    before.onRefusal === after.onRefusal;
  return isSameRefusal ? [] : ['decision'];
}

/** Reasons that only one of two decisions gives; those of both say nothing about the difference. */
export function changedReasons(
  before: PlanDecision,
  after: PlanDecision,
): { readonly before: readonly Reason[]; readonly after: readonly Reason[] } {
  const without = (reasons: readonly Reason[], others: readonly Reason[]): readonly Reason[] =>
    reasons.filter((reason) => !others.some((other) => isSameJson(reason, other)));
  return {
    before: without(before.reasons, after.reasons),
    after: without(after.reasons, before.reasons),
  };
}

/** Whether an input has a field of that path, so that an edit of it can be made. */
export function hasField(input: PlanInput, path: string): boolean {
  let value: unknown = input;
  for (const key of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) {
      return false;
    }
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return true;
}

function planOf(decision: PlanDecision): Plan | null {
  return decision.schema === 'tileloom.plan/1' ? decision : null;
}

/** A smaller chunk pays its fixed seconds as often as it takes to cover the same rows. */
function scaledSeconds(after: Plan | null, rowsAfter: number, rows: number): number | null {
  if (after === null) {
    return null;
  }
  const { seconds } = after.predicted;
  return rowsAfter === 0 || rows === rowsAfter ? seconds : (seconds / rowsAfter) * rows;
}

function changedPins({ pins }: PlanInput, changes: WhatIfChanges): PlanInput['pins'] {
  const added = changes.pins ?? [];
  const kept = changes.dropPins === true ? { winners: [], losers: [] } : pins;
  if (added.length === 0) {
    return kept;
  }
  const isBeaten = (pin: Pin): boolean => added.some(({ aspect }) => aspect === pin.aspect);
  const winners = [...kept.winners.filter((pin) => !isBeaten(pin)), ...added];
  return {
    ...kept,
    winners: PIN_ASPECTS.flatMap((aspect) => winners.find((pin) => pin.aspect === aspect) ?? []),
    losers: [...kept.losers, ...kept.winners.filter(isBeaten).map(({ id }) => id)],
  };
}

function editInput(input: PlanInput, edit: InputEdit): PlanInput {
  const keys = edit.path.split('.');
  if (!EDITABLE.includes(keys[0] ?? '') || keys.length < 2) {
    throw invalidEdit(edit, `a path that begins with ${EDITABLE.join('., ')}.`, keys[0] ?? '');
  }
  return replaced(input, keys, edit) as PlanInput;
}

function replaced(value: unknown, keys: readonly string[], edit: InputEdit): unknown {
  const [key, ...rest] = keys;
  if (key === undefined) {
    return checkedValue(value, edit);
  }
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) {
    const known = typeof value === 'object' && value !== null ? Object.keys(value) : [];
    throw invalidEdit(edit, known.length === 0 ? 'no deeper path' : known.join(', '), key);
  }
  const inner = replaced((value as Readonly<Record<string, unknown>>)[key], rest, edit);
  return Array.isArray(value)
    ? value.map((item: unknown, index) => (String(index) === key ? inner : item))
    : { ...value, [key]: inner };
}

/** A field keeps its type; what may be unknown (null) takes a number or a text as well. */
function checkedValue(present: unknown, edit: InputEdit): unknown {
  const kind = (value: unknown): string =>
    value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
  const given = kind(edit.value);
  const isMetric = present === null || typeof present === 'number' || typeof present === 'string';
  const fits =
    given === kind(present) ||
    (given === 'null' && isMetric) ||
    (present === null && (given === 'number' || given === 'string' || given === 'boolean'));
  if (!fits) {
    throw invalidEdit(edit, `a ${kind(present)}`, given);
  }
  return edit.value;
}

function invalidEdit({ path }: InputEdit, expected: string, got: string): PlannerError {
  return new PlannerError(
    'PLAN_EDIT_INVALID',
    `plan input ${path} cannot be edited: expected ${expected}, got ${JSON.stringify(got)}; ` +
      'see the input of a plan with tileloom plan show',
    { details: { path, expected, got } },
  );
}
