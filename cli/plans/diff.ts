// Owns `plan diff`: two runs chunk by chunk, two chunks of a run, or what plan explain says of a
// pipeline against what a run did. Field by field, reasons side by side; exit code 8 when plans differ.
import { fieldDifferences } from '../../core/index.ts';
import { joinRecords, type PlanRecord } from '../../history/index.ts';
import type { PlanDecision, PlanInput } from '../../planner/index.ts';
import { EXIT } from '../exit.ts';
import { formatCount } from '../format.ts';
import type { Output } from '../output.ts';
import {
  plainDifferences,
  renderDifference,
  renderReasons,
  type PlainDifference,
} from './differences.ts';
import { decisive, recordsAt, type Place } from './places.ts';
import type { PlanSource } from './source.ts';

/** One side of a comparison. */
export interface DiffSide {
  readonly name: string;
  readonly input: PlanInput | null;
  readonly decision: PlanDecision | null;
}

export interface PlanDiff {
  readonly left: string;
  readonly right: string;
  readonly decision: readonly PlainDifference[];
  /** Without what differs between any two plans: run, time, boot, ids of earlier plans. */
  readonly input: readonly PlainDifference[];
  /** Whether both sides have an input to compare. */
  readonly inputsKnown: boolean;
  readonly reasonsLeft: PlanDecision['reasons'];
  readonly reasonsRight: PlanDecision['reasons'];
}

/** Paths of an input that say nothing about why two plans differ. */
const INCIDENTAL = /^(?:where\.runId|snapshot\.(?:takenAt|ageMs|bootId)|previous\.planId)$/;
const SHOWN_MAX = 50;

/** Compares two plans. The plan id covers the input and is no difference of its own. */
export function diffPlans(left: DiffSide, right: DiffSide): PlanDiff {
  const decision = fieldDifferences(left.decision, right.decision).filter(
    ({ path }) => path !== 'planId' && !path.startsWith('reasons'),
  );
  const inputsKnown = left.input !== null && right.input !== null;
  const input = inputsKnown
    ? fieldDifferences(left.input, right.input).filter(({ path }) => !INCIDENTAL.test(path))
    : [];
  return {
    left: left.name,
    right: right.name,
    decision: plainDifferences(decision),
    input: plainDifferences(input),
    inputsKnown,
    reasonsLeft: left.decision?.reasons ?? [],
    reasonsRight: right.decision?.reasons ?? [],
  };
}

export function isDifferent(diff: PlanDiff): boolean {
  const reasons = fieldDifferences(diff.reasonsLeft, diff.reasonsRight);
  return diff.decision.length > 0 || reasons.length > 0;
}

/** Compares two chunks of one run. */
export async function diffChunks(
  output: Output,
  source: PlanSource,
  places: readonly [Place, Place],
): Promise<number> {
  const [left, right] = (await recordsAt(source, places)).map((records, index) =>
    sideOf(places[index] ?? places[0], decisive(records)),
  );
  const diff = diffPlans(left ?? NOTHING, right ?? NOTHING);
  output.document('tileloom.cli.plan-diff/1', { runId: source.runId, ...diff }, () =>
    renderDiff(diff),
  );
  return isDifferent(diff) ? EXIT.plansDiffer : EXIT.ok;
}

export interface RunDiffItem extends PlanDiff {
  readonly shard: number;
  readonly chunk: number;
}

/** Compares two runs by shard and chunk; both are read side by side, one chunk in memory. */
export async function diffRuns(
  output: Output,
  left: PlanSource,
  right: PlanSource,
): Promise<number> {
  const counts = { chunks: 0, different: 0, onlyLeft: 0, onlyRight: 0 };
  const shown: RunDiffItem[] = [];
  for await (const [place, ours, theirs] of paired(left, right)) {
    counts.chunks += 1;
    if (ours === null) counts.onlyRight += 1;
    if (theirs === null) counts.onlyLeft += 1;
    const diff = diffPlans(sideOf(place, ours), sideOf(place, theirs));
    if (!isDifferent(diff)) continue;
    counts.different += 1;
    const item = { ...place, ...diff };
    if (output.format === 'jsonl') {
      output.document('tileloom.cli.plan-diff-item/1', item, () => '');
    } else if (shown.length < SHOWN_MAX) {
      shown.push(item);
    }
  }
  const report = {
    left: left.title,
    right: right.title,
    ...counts,
    ...(output.format === 'jsonl' ? {} : { differences: shown }),
  };
  output.document('tileloom.cli.plan-diff/1', report, () =>
    renderRuns(left.title, right.title, counts, shown),
  );
  return counts.different > 0 ? EXIT.plansDiffer : EXIT.ok;
}

const NOTHING: DiffSide = { name: 'nothing', input: null, decision: null };

function sideOf({ shard, chunk }: Place, record: PlanRecord | null): DiffSide {
  const name = `${String(shard)}/${String(chunk)}`;
  return { name, input: record?.input ?? null, decision: record?.decision ?? null };
}

type Paired = readonly [Place, PlanRecord | null, PlanRecord | null];

/** Merges two streams of records by shard and chunk. */
async function* paired(left: PlanSource, right: PlanSource): AsyncGenerator<Paired> {
  const ours = chunksOf(left);
  const theirs = chunksOf(right);
  let [mine, other] = [await ours.next(), await theirs.next()];
  for (;;) {
    const [a, b] = [
      mine.done === true ? null : mine.value,
      other.done === true ? null : other.value,
    ];
    if (a === null && b === null) return;
    const order = a === null ? 1 : b === null ? -1 : a.shard - b.shard || a.chunk - b.chunk;
    const place = order <= 0 ? a : b;
    if (place === null) return;
    yield [
      { shard: place.shard, chunk: place.chunk },
      order <= 0 ? a : null,
      order >= 0 ? b : null,
    ];
    if (order <= 0) mine = await ours.next();
    if (order >= 0) other = await theirs.next();
  }
}

/** The record of each chunk that counts. */
async function* chunksOf(source: PlanSource): AsyncGenerator<PlanRecord, undefined> {
  let group: PlanRecord[] = [];
  for await (const record of joinRecords(source.lines())) {
    const [first] = group;
    if (first !== undefined && (first.shard !== record.shard || first.chunk !== record.chunk)) {
      yield decisive(group) ?? first;
      group = [];
    }
    group.push(record);
  }
  const last = decisive(group);
  if (last !== null) yield last;
  return undefined;
}

/** One comparison for people. */
export function renderDiff(diff: PlanDiff): string {
  const section = (title: string, differences: readonly PlainDifference[]): string[] =>
    differences.length === 0
      ? [`  ${title}: the same`]
      : [
          `  ${title}`,
          ...differences.map((one) => `    ${renderDifference(one, diff.left, diff.right)}`),
        ];
  return [
    `${diff.left} against ${diff.right}`,
    ...section('decision', diff.decision),
    renderReasons(diff.reasonsLeft, diff.reasonsRight, diff.left, diff.right),
    ...(diff.inputsKnown ? section('input', diff.input) : []),
  ].join('\n');
}

function renderRuns(
  left: string,
  right: string,
  counts: { chunks: number; different: number; onlyLeft: number; onlyRight: number },
  shown: readonly RunDiffItem[],
): string {
  const head =
    `${formatCount(counts.different)} of ${formatCount(counts.chunks)} chunks differ between ` +
    `${left} (-) and ${right} (+); ${formatCount(counts.onlyLeft)} only in the first, ` +
    `${formatCount(counts.onlyRight)} only in the second`;
  const items = shown.map((item) => {
    const place = `${String(item.shard)}/${String(item.chunk)}`;
    return renderDiff({ ...item, left: 'first', right: 'second' }).replace(
      /^.*$/m,
      `chunk ${place}`,
    );
  });
  const more = counts.different - shown.length;
  const rest = more > 0 ? [`… and ${formatCount(more)} more; see -o jsonl`] : [];
  return [head, ...items, ...rest].join('\n\n');
}
