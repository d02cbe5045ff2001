// Owns how audit entries are put together and told: what changed, in words; whatever people wrote is
// escaped.
import type { Audit } from '../../history/index.ts';
import {
  escapeControl,
  type AuditEntry,
  type OperatorLimits,
  type OperatorState,
  type ParkedOrder,
} from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';
import { formatBytes, formatTable, formatTime } from '../format.ts';
import { scopeText } from './pin-report.ts';

/**
 * Joins what histories and the sink know. Where the first executions are forgotten, sealed entries
 * stand in for them.
 */
export function joinAudit(
  live: Audit | null,
  sealed: readonly AuditEntry[] | null,
): readonly AuditEntry[] {
  if (live === null) return sealed ?? [];
  const [first, ...others] = live.entries;
  if (live.whole || sealed === null || first === undefined) return live.entries;
  return [...sealed.filter(({ epoch }) => epoch <= first.epoch), ...others];
}

/** A table: when, who, by what way, what changed, why. */
export function renderAudit(entries: readonly AuditEntry[]): string {
  return formatTable(
    ['epoch', 'time', 'who', 'via', 'change', 'reason'],
    entries.map((entry) => [
      String(entry.epoch),
      formatTime(entry.at),
      escapeControl(entry.by) || '-',
      escapeControl(entry.via),
      escapeControl(changeText(entry)),
      escapeControl(entry.reason) || '-',
    ]),
  );
}

/** What an entry changed: `paused (drain)`, `lanes 2 → 4`, `pin-3 variant=assign/grid-avx2@1`. */
export function changeText(entry: AuditEntry): string {
  const { verb, before, after } = entry;
  const parts: readonly (readonly string[])[] = [
    after.pause === undefined ? [] : [pauseText(verb, after.pause)],
    pinTexts(before.pins ?? [], after.pins ?? []),
    after.limits === undefined ? [] : [limitsText(before.limits ?? null, after.limits)],
    (after.parkedOrders ?? []).map(orderText),
    after.cancel === undefined ? [] : [after.cancel === null ? 'no longer cancelled' : 'cancelled'],
  ];
  const changes = parts.flat().filter((part) => part !== '');
  return `${verb === 'start' ? 'started: ' : ''}${changes.join('; ')}`;
}

function pauseText(verb: AuditEntry['verb'], pause: OperatorState['pause']): string {
  if (pause === null) return verb === 'resume' ? 'resumed' : 'pause ended';
  const end = pause.until === null ? '' : ` until ${formatTime(pause.until)}`;
  return `paused (${pause.mode})${end}`;
}

function pinTexts(gone: readonly Pin[], come: readonly Pin[]): readonly string[] {
  return [
    ...gone.map(({ id, aspect, value }) => `without ${id} ${aspect}=${value}`),
    ...come.map((pin) => `with ${pinText(pin)}`),
  ];
}

function pinText({ id, aspect, value, scope, expiresAt, chunksLeft, ifImpossible }: Pin): string {
  const terms = [
    ...(scope.kind === 'run' ? [] : [scopeText(scope)]),
    ...(expiresAt === null ? [] : [`until ${formatTime(expiresAt)}`]),
    ...(chunksLeft === null || scope.kind === 'chunks' ? [] : [`${String(chunksLeft)} chunks`]),
    ...(ifImpossible === 'hold' ? [] : ['or fail']),
  ];
  return `${id} ${aspect}=${value}${terms.length === 0 ? '' : ` (${terms.join(', ')})`}`;
}

const LIMIT_TEXTS: Readonly<Record<keyof OperatorLimits, (limits: OperatorLimits) => string>> = {
  lanes: ({ lanes }) => String(lanes),
  chunkSecondsTarget: ({ chunkSecondsTarget }) => `${String(chunkSecondsTarget)} s`,
  memoryBytesMax: ({ memoryBytesMax }) => formatBytes(memoryBytesMax),
  cadence: ({ cadence }) => String(cadence),
  failedTiles: ({ failedTiles }) => String(failedTiles),
};

/** All of them at the start, else those that changed. */
function limitsText(before: OperatorLimits | null, after: OperatorLimits): string {
  return (Object.keys(LIMIT_TEXTS) as (keyof OperatorLimits)[])
    .filter((name) => before === null || before[name] !== after[name])
    .map((name) => {
      const text = LIMIT_TEXTS[name];
      return `${name} ${before === null ? '' : `${text(before)} → `}${text(after)}`;
    })
    .join(', ');
}

function orderText({ kind, select, pin }: ParkedOrder): string {
  const tiles = select.tiles?.map(({ firstTile, endTile }) =>
    endTile - firstTile === 1 ? String(firstTile) : `${String(firstTile)}-${String(endTile - 1)}`,
  );
  return [
    `${kind} ${tiles === undefined ? 'parked tiles' : `tiles ${tiles.join(', ')}`}`,
    ...(select.fingerprint === null ? [] : [`of error ${select.fingerprint}`]),
    ...(pin === null ? [] : [`with ${pin.aspect}=${pin.value}`]),
  ].join(' ');
}
