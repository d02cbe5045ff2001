// Owns the search attributes of a run. Each upsert is an event of its history, so nothing is written
// that is there already; an execution that continues another one finds the attributes of that one.
import { SearchAttributeType, defineSearchAttributeKey } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';
import { SEARCH_ATTRIBUTES } from './messages.ts';
import { parkedTiles, type RunState } from './run-state.ts';

const { KEYWORD, INT } = SearchAttributeType;
const PIPELINE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.pipeline, KEYWORD);
const PHASE = defineSearchAttributeKey(SEARCH_ATTRIBUTES.phase, KEYWORD);
const PAUSED_BY = defineSearchAttributeKey(SEARCH_ATTRIBUTES.pausedBy, KEYWORD);
const PARKED = defineSearchAttributeKey(SEARCH_ATTRIBUTES.parked, INT);

/** Longer values of a Keyword are refused by servers with an SQL store. */
const KEYWORD_CHARACTERS_MAX = 100;

interface Shown {
  readonly phase: string;
  readonly pausedBy: string | null;
  readonly parked: number;
}

/**
 * Creates the writer of a run's attributes.
 *
 * @param continues whether the execution before this one has written what the state says now
 */
export function createAttributes(run: RunState, continues: boolean): () => void {
  let shown: Shown | null = continues ? wanted(run) : null;
  return () => {
    if (run.input.tuning.searchAttributes === false) return;
    const next = wanted(run);
    const name = run.input.spec.name.slice(0, KEYWORD_CHARACTERS_MAX);
    const pairs = [
      ...(shown === null ? [{ key: PIPELINE, value: name }] : []),
      ...(shown?.phase === next.phase ? [] : [{ key: PHASE, value: next.phase }]),
      ...((shown?.pausedBy ?? null) === next.pausedBy
        ? []
        : [{ key: PAUSED_BY, value: next.pausedBy }]),
      ...((shown?.parked ?? 0) === next.parked ? [] : [{ key: PARKED, value: next.parked }]),
    ];
    shown = next;
    if (pairs.length > 0) upsertSearchAttributes(pairs);
  };
}

function wanted(run: RunState): Shown {
  const { phase, operator } = run;
  const isOpen = run.finishedAt === null;
  const pausedBy = isOpen ? (operator.pause?.by.slice(0, KEYWORD_CHARACTERS_MAX) ?? null) : null;
  return { phase, pausedBy, parked: parkedTiles(run).count };
}
