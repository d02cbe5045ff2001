// Owns `plan show`: everything about the plans of one chunk: inputs, pins with who set them and why,
// candidates, reasons, and what came of it.
import type { ExecuteLine, PlanRecord } from '../../history/index.ts';
import { escapeControl } from '../../operator/index.ts';
import type { PlanInput } from '../../planner/index.ts';
import type { ExecuteAnswer } from '../../workflows/activity-contract.ts';
import { formatBytes, formatCount, formatDuration, formatFacts, formatTime } from '../format.ts';
import type { Output } from '../output.ts';
import { renderDecision } from './decision.ts';
import { pinOrigins, type PinOrigin } from './pin-origins.ts';
import { recordsAt, type Place } from './places.ts';
import type { PlanSource } from './source.ts';

/** Prints the records of a chunk. */
export async function showPlans(output: Output, source: PlanSource, place: Place): Promise<void> {
  const [records = []] = await recordsAt(source, [place]);
  const cited = new Set(records.flatMap(({ input }) => pinsOf(input)));
  const origins = cited.size === 0 ? new Map<string, PinOrigin>() : await pinOrigins(source);
  const pins = [...cited].map((id) => ({ id, ...origins.get(id) }));
  output.document(
    'tileloom.cli.plan-show/1',
    { runId: source.runId, ...place, records, pins },
    () => records.map((record) => renderRecord(record, origins)).join('\n\n'),
  );
}

function pinsOf(input: PlanInput | null): readonly string[] {
  return input === null ? [] : [...input.pins.winners.map(({ id }) => id), ...input.pins.losers];
}

function renderRecord(record: PlanRecord, origins: ReadonlyMap<string, PinOrigin>): string {
  const { planned, input, decision, leasedFrom, execution, shard, chunk, attempt } = record;
  const where = planned?.call.request.where;
  const leased = leasedFrom === null ? '' : `, under the plan of chunk ${String(leasedFrom)}`;
  const epoch = where === undefined ? '' : `, epoch ${String(where.epoch)}`;
  const head =
    `chunk ${String(shard)}/${String(chunk)}, try ${String(attempt)}${epoch}: ` +
    `${record.outcome}${leased}`;
  const failure = planned?.failure ?? null;
  const parts = [
    head,
    ...(input === null ? [] : [renderInput(input), renderPins(input, origins)]),
    ...(failure === null
      ? []
      : [formatFacts([['failed', escapeControl(`${failure.type}: ${failure.message}`)]])]),
    ...(decision === null ? [] : [renderDecision(decision)]),
    ...(execution === null ? [] : [renderExecution(execution)]),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

function renderInput(input: PlanInput): string {
  const { work, where, requested, limits, snapshot, previous, policy, registry } = input;
  const memory =
    snapshot.memAvailableBytes === null
      ? 'unknown memory free'
      : `${formatBytes(snapshot.memAvailableBytes)} free`;
  return formatFacts([
    [
      'planned',
      `${formatTime(snapshot.takenAt)}, snapshot ${formatDuration(snapshot.ageMs / 1000)} old`,
    ],
    [
      'host',
      `${escapeControl(snapshot.host)}, ${String(snapshot.cores)} cores, load ` +
        `${String(snapshot.load1 ?? 'unknown')}, ${memory}`,
    ],
    ['devices', snapshot.devices.map(describeDevice).join('; ')],
    ['GPU telemetry', snapshot.reason ?? snapshot.backend],
    [
      'work',
      `${work.operation} of ${formatCount(work.rows)} rows in ${formatCount(where.reservedTiles)} ` +
        `tiles from ${formatCount(where.firstTile)} on; ${formatCount(work.remainingRows)} rows left`,
    ],
    ['requested', `mode ${requested.mode}, precision ${requested.precision}`],
    [
      'limits',
      `${formatBytes(limits.memoryBytesMax)}, ${formatDuration(limits.chunkSecondsTarget)} a chunk` +
        (limits.chunkRowsMax === null ? '' : `, ${formatCount(limits.chunkRowsMax)} rows a chunk`),
    ],
    ['excluded', excludedText(input)],
    [
      'plan before',
      previous === null ? 'none' : `${previous.variant}, ${String(previous.chunkTiles)} tiles`,
    ],
    ['learned', learnedText(input)],
    ['policy', `${policy.id} (${policy.digest.slice(0, 12)})`],
    ['registry', registry.digest.slice(0, 12)],
  ]);
}

function describeDevice(device: PlanInput['snapshot']['devices'][number]): string {
  const { deviceId, deviceClass, utilizationPct, memFreeBytes, quarantine } = device;
  const busy = utilizationPct === null ? 'unknown' : `${String(Math.round(utilizationPct))} %`;
  const free = memFreeBytes === null ? 'unknown memory' : `${formatBytes(memFreeBytes)} free`;
  const out = quarantine === null ? '' : `, out of service: ${escapeControl(quarantine)}`;
  return `${deviceId} (${deviceClass}), ${busy} busy, ${free}${out}`;
}

function excludedText({ excluded }: PlanInput): string {
  return excluded.length === 0
    ? 'nothing'
    : excluded
        .map(({ variant, deviceId, failure }) => `${variant} on ${deviceId} (${failure})`)
        .join(', ');
}

function learnedText({ history }: PlanInput): string {
  return history.entries.length === 0
    ? 'nothing yet'
    : history.entries
        .map(
          ({ variant, rowsPerSecond, chunks }) =>
            `${variant} ${rowsPerSecond === null ? 'no' : formatCount(rowsPerSecond)} rows/s over ` +
            `${formatCount(chunks)} chunk(s)`,
        )
        .join('; ');
}

function renderPins({ pins }: PlanInput, origins: ReadonlyMap<string, PinOrigin>): string {
  if (pins.winners.length === 0 && pins.losers.length === 0) return formatFacts([['pins', 'none']]);
  const lines = pins.winners.map(({ id, aspect, value, epoch }) => {
    const origin = origins.get(id);
    const who =
      origin === undefined
        ? 'who set it is not known here'
        : `by ${escapeControl(origin.author)}: ${escapeControl(origin.reason)}`;
    return `  ${id}  ${aspect} = ${escapeControl(String(value))}, epoch ${String(epoch)}, ${who}`;
  });
  const lost = pins.losers.length === 0 ? [] : [`  outranked: ${pins.losers.join(', ')}`];
  return ['pins', ...lines, ...lost].join('\n');
}

function renderExecution({ order, answer, failure }: ExecuteLine): string {
  const facts: [string, string][] = [
    ['tiles', `${String(order.firstTile)}-${String(order.endTile - 1)}`],
    ['variant', `${order.variant}, ${order.precision}, on ${order.deviceId}`],
  ];
  if (answer === null) {
    facts.push(['failed', escapeControl(`${failure?.type ?? ''}: ${failure?.message ?? ''}`)]);
  } else {
    const { seconds } = answer;
    facts.push(
      [
        'rows',
        `${formatCount(answer.part.rows)} (${formatCount(answer.hits)} hits, ` +
          `${formatCount(answer.outside)} outside, ${formatCount(answer.invalid)} invalid)`,
      ],
      [
        'took',
        `${formatDuration(seconds.work)}, queued ${formatDuration(seconds.queued)}; ` +
          stagesOf(seconds),
      ],
      ['peak memory', formatBytes(answer.peakBytes)],
      ...deviceFacts(answer),
      ['part', answer.part.file],
    );
  }
  return `execution\n${formatFacts(facts)}`;
}

/** Stages in the order in which a batch goes through them. */
function stagesOf(seconds: ExecuteAnswer['seconds']): string {
  const stages = [
    ['read', seconds.read],
    ['upload', seconds.upload],
    ['kernel', seconds.kernel],
    ['download', seconds.download],
    ['write', seconds.write],
  ] as const;
  return stages
    .flatMap(([name, took]) => (took === undefined ? [] : `${name} ${formatDuration(took)}`))
    .join(', ');
}

function deviceFacts({ device, image }: ExecuteAnswer): readonly [string, string][] {
  if (device === undefined) return [];
  const rows = `${formatCount(device.repairedRows)} decided by the host`;
  return [
    ['device', `at most ${formatBytes(device.peakBytes)} in use, ${rows}`],
    ['image', image],
  ];
}
