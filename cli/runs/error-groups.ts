// Owns what went wrong in a run, grouped by fingerprint: a fold over the lines of its history.
//
// A tile is parked now when it failed alone, for its data or under two variants, and no later chunk
// holds it: the rule by which the run itself parks.
import type { HistoryLine } from '../../history/index.ts';

export interface ErrorGroup {
  readonly fingerprint: string;
  /** `TILE_DATA_ERROR`, `KERNEL_FAULT`, `TIMEOUT`, … */
  readonly errorClass: string;
  readonly code: string;
  /** Failed plans and executions. */
  readonly count: number;
  /** Milliseconds since the Unix epoch. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** First tiles that it named or that failed alone, ascending; at most `SAMPLES_MAX`. */
  readonly tiles: readonly number[];
  /** Tiles that are parked with it at present. */
  readonly parkedNow: number;
  readonly input: string | null;
  /** An example, the latest. */
  readonly message: string;
}

export const SAMPLES_MAX = 20;

interface Open {
  group: string;
  readonly variants: Set<string>;
  parked: boolean;
}

type Draft = { -readonly [Key in keyof ErrorGroup]: ErrorGroup[Key] } & { samples: Set<number> };

/** Groups the failures of a run, the latest first. */
export async function groupErrors(lines: AsyncIterable<HistoryLine>): Promise<ErrorGroup[]> {
  const groups = new Map<string, Draft>();
  const open = new Map<number, Open>();
  for await (const line of lines) {
    if (line.failure === null) {
      if (line.kind === 'execute') settle(open, line.order);
      continue;
    }
    // Cancelled chunks are no errors: a pause or a yield asked for it.
    if (line.failure.type !== 'CANCELLED') {
      take(groups, open, line);
    }
  }
  for (const tile of open.values()) {
    const group = groups.get(tile.group);
    if (tile.parked && group !== undefined) group.parkedNow += 1;
  }
  return [...groups.values()]
    .map(({ samples, ...group }) => ({
      ...group,
      tiles: [...samples].toSorted((left, right) => left - right),
    }))
    .toSorted((left, right) => right.lastSeen - left.lastSeen);
}

function settle(
  open: Map<number, Open>,
  { firstTile, endTile }: { readonly firstTile: number; readonly endTile: number },
): void {
  for (const tile of open.size === 0 ? [] : [...open.keys()]) {
    if (firstTile <= tile && tile < endTile) open.delete(tile);
  }
}

function take(groups: Map<string, Draft>, open: Map<number, Open>, line: HistoryLine): void {
  const failure = line.failure;
  if (failure === null) return;
  const fingerprint = failure.fingerprint ?? failure.code ?? failure.type;
  const group = groups.get(fingerprint) ?? newGroup(fingerprint, line.closedAt);
  groups.set(fingerprint, group);
  group.errorClass = failure.type;
  group.code = failure.code ?? failure.type;
  group.count += 1;
  group.firstSeen = Math.min(group.firstSeen, line.closedAt);
  group.lastSeen = Math.max(group.lastSeen, line.closedAt);
  group.input = failure.input ?? group.input;
  group.message = failure.message;
  const alone =
    line.kind === 'execute' && line.order.endTile - line.order.firstTile === 1
      ? line.order.firstTile
      : null;
  const tile = alone ?? failure.tile ?? null;
  if (tile !== null && group.samples.size < SAMPLES_MAX) group.samples.add(tile);
  if (alone === null || line.kind !== 'execute') return;
  const before = open.get(alone) ?? { group: fingerprint, variants: new Set(), parked: false };
  before.group = fingerprint;
  before.variants.add(line.order.variant);
  before.parked =
    failure.type === 'TILE_DATA_ERROR' ||
    (['KERNEL_FAULT', 'OUT_OF_MEMORY'].includes(failure.type) && before.variants.size > 1);
  open.set(alone, before);
}

function newGroup(fingerprint: string, at: number): Draft {
  return {
    ...{ fingerprint, errorClass: '', code: '', count: 0, firstSeen: at, lastSeen: at },
    ...{ tiles: [], parkedNow: 0, input: null, message: '' },
    samples: new Set(),
  };
}
