// Owns every code a plan may give: reasons of a decision, rejects of a candidate, and their English.
// Codes and parameters are the contract and are stored; text is rendered only when someone reads it.
import type { Reason } from './types.ts';

type Params = Readonly<Record<string, string | number | boolean | null>>;

// A hole `{name}` takes a parameter as it is, `{#name}` a number with its digits grouped by three.

const REASON_TEXT = {
  // Availability
  TELEMETRY_UNAVAILABLE:
    'GPU telemetry is unavailable ({why}); planned from static heuristics and declared metadata.',
  TELEMETRY_STALE:
    'The snapshot is {#ageMs} ms old, the limit is {#limitMs} ms; its metrics count as unknown.',
  NO_GPU: 'This host has no GPU in service.',
  DEVICE_OUT_OF_SERVICE: 'Device {device} is out of service: {why}.',
  DEVICES_OUT_OF_SERVICE: '{#count} more device(s) are out of service.',
  // Pins and requests
  PIN_APPLIED: 'Pin {pin} fixes {aspect} to {value}.',
  PIN_OVERRIDDEN: '{#count} pin(s) lost against narrower or newer ones: {pins}.',
  MODE_REQUESTED: 'The pipeline asks for {mode}.',
  // Runtime
  CROSSOVER_BELOW: '{#units} {unit} are below the crossover of {#threshold}: CPU.',
  CROSSOVER_REACHED: '{#units} {unit} reach the crossover of {#threshold}: GPU.',
  CROSSOVER_OPEN:
    '{#units} {unit} reach the crossover of {#threshold}: the device that is done first.',
  DEVICE_RESIDENT: 'The data is on the device already, so the work stays there.',
  RUNTIME_SWITCHED: 'No variant can run on {from}; planned for {to}.',
  // Precision
  PRECISION_REQUESTED: 'Computes in {precision} as requested.',
  PRECISION_CPU: 'Computes in fp64: on a CPU it costs nothing extra.',
  PRECISION_NATIVE_FP64: 'Computes in fp64: the device does it at {ratio} of fp32 speed.',
  PRECISION_SLOW_FP64:
    'Computes in {precision}: the device does fp64 at {ratio} of fp32 speed only.',
  PRECISION_NO_VARIANT: 'No admissible variant computes in {wanted}; uses fp64.',
  // Variant
  VARIANT_ONLY: '{variant} is the only admissible variant.',
  VARIANT_BEST: '{variant} scores {score}, the runner-up {next} {nextScore}.',
  VARIANT_TIE: '{variant} and {next} score {score} each; the first registered wins.',
  DONE_FIRST: '{variant} is done first, in {seconds} s; {next} in {nextSeconds} s.',
  DEVICE_KEPT:
    'Stays with {variant}, done in {seconds} s: {next} in {nextSeconds} s is no more than noise.',
  PROBE_DUE:
    'No chunk of {variant} was measured on {deviceClass}: a probe, declared {times} times the time of {best}.',
  RATE_HISTORY: 'Expects {#rowsPerSecond} rows/s, measured over {#chunks} chunk(s) of this run.',
  RATE_NET:
    'Expects {#rowsPerSecond} rows/s beside fixed costs: {#measured} rows/s with them, over {#chunks} chunk(s).',
  RATE_CALIBRATED:
    'Expects {#rowsPerSecond} rows/s: declared speed × {factor}, as measured for {variant}.',
  RATE_DECLARED:
    'Expects {#rowsPerSecond} rows/s: declared speed of one core or device × {#units}.',
  CANDIDATES_OMITTED: '{#count} more rejected variant(s) are left out of the list.',
  // Chunk
  CHUNK_PINNED: 'Chunk of {#rows} rows as pinned, in whole tiles.',
  CHUNK_EMPTY: 'The range has no rows: one chunk takes all of it.',
  CHUNK_ALL_ROWS: 'Without a GPU on the host the whole range is one chunk.',
  CHUNK_HINT_PRESSURE: 'Memory is {usedPct} % full: chunks of {#rows} rows.',
  CHUNK_HINT_IDLE: 'The device is {usedPct} % busy: chunks of {#rows} rows.',
  CHUNK_HINT_DEFAULT: 'Chunks of {#rows} rows by default.',
  CHUNK_BY_TIME: '{#rows} rows take about {seconds} s.',
  CHUNK_BY_EVIDENCE: 'At most {#rows} rows: {factor} times what was measured there, or a probe.',
  CHUNK_PROBE: 'First chunk of this variant here: a probe of at most {#rows} rows.',
  CHUNK_MEMORY_PRESSURE: 'Memory is {usedPct} % full: rows × {factor}.',
  CHUNK_TAPERED:
    'Near the end of the shard ({#remaining} rows left): at most {#rows} rows, so that lanes finish together.',
  CHUNK_BY_MEMORY: 'At most {#rows} rows fit {#bytes} bytes.',
  CHUNK_AFTER_OOM: 'At most {#rows} rows after a chunk ran out of memory.',
  CHUNK_BY_VARIANT: 'The variant takes at most {#rows} rows.',
  CHUNK_PIN_BORDER: 'Other pins apply after {#tiles} tile(s): the chunk ends there.',
  CHUNK_RESERVATION: 'The reservation holds {#tiles} tile(s) only.',
  CHUNK_ONE_TILE: 'One tile is more than that, but a tile is never split.',
  REPLAN_AFTER_PROBE: 'Plans again after this chunk, with its measurements.',
  // Refusals and what would release them
  PIN_IMPOSSIBLE: 'Pin {pin} ({aspect} = {value}) cannot be honoured here.',
  PIN_HOST_ELSEWHERE: 'Pin {pin} wants host {value}; this is {host}.',
  PIN_CHUNK_TOO_LARGE: 'Pin {pin} wants {#rows} rows a chunk; at most {#rowsMax} fit ({why}).',
  PIN_VARIANT_UNKNOWN: 'Pin {pin} names {value}, which the registry lacks (nearest: {nearest}).',
  REQUEST_IMPOSSIBLE: 'The pipeline asks for {aspect} {value}, which cannot be had here.',
  GPU_MISSING: 'No GPU on this host: {why}.',
  NO_ADMISSIBLE_VARIANT: 'No variant of {operation} can do this work here.',
  RELEASE_BY_CLEARING_PIN: 'Clearing pin {pin} would release it.',
  RELEASE_BY_REQUEST: 'Asking for {aspect} auto would release it.',
  RELEASE_BY_HOST: 'A worker on host {host} would release it.',
  RELEASE_BY_DEVICE: 'A host with a {kind} in service would release it.',
  RELEASE_BY_RECOVERY: 'The recovery of device {device} would release it ({why}).',
  RELEASE_BY_OTHER_HOST: 'Another host would release it ({why} here).',
  RELEASE_BY_MEMORY: 'A memory limit of at least {#bytes} bytes would release it.',
  RELEASE_BY_GPU_MEMORY:
    'A worker that may take at least {#bytes} bytes of device {device} (--gpu-memory) would release it.',
  RELEASE_BY_VARIANT: 'A variant without {why} would release it.',
} as const;

const REJECT_TEXT = {
  NO_DEVICE: 'The host has no such device.',
  DEVICE_QUARANTINED: 'The device is out of service.',
  NO_IMAGE_FOR_DEVICE: 'There is no kernel image that the device can run.',
  DRIVER_UNUSABLE: 'The driver does not serve the device.',
  DEVICE_ECC_ERRORS: 'The memory of the device has uncorrected errors.',
  DEVICE_THROTTLED: 'The device is throttled.',
  DEVICE_MEMORY_EXHAUSTED: 'The free memory of the device does not take one tile and the index.',
  PIN_OTHER_VARIANT: 'Another variant is pinned.',
  PIN_OTHER_RUNTIME: 'Another runtime is pinned.',
  PIN_OTHER_DEVICE: 'Another device is pinned.',
  MODE_OTHER_RUNTIME: 'The pipeline asks for another runtime.',
  RUNTIME_NOT_CHOSEN: 'The work goes to another runtime.',
  EXCLUDED_AFTER_FAILURE: 'It failed on this device before in this run.',
  NUMERIC_CLASS_NOT_EXACT: 'It is not exact, so it runs only where it is pinned.',
  BOUNDARY_UNSUPPORTED: 'It does not know the boundary rule.',
  OVERLAP_UNSUPPORTED: 'It does not know the overlap rule.',
  FAMILY_UNSUPPORTED: 'It does not take all geometry families of the layer.',
  MIXED_UNSUPPORTED: 'It does not take mixed geometry families.',
  ISA_MISSING: 'The host lacks an instruction set it needs.',
  PRECISION_UNSUPPORTED: 'It does not compute in the precision chosen.',
  ROWS_BELOW_MIN: 'There are fewer rows than it takes.',
  ROWS_ABOVE_MAX: 'One tile has more rows than it takes.',
  MEMORY_EXCEEDED: 'Not even one tile fits the memory limit.',
} as const;

export type ReasonCode = keyof typeof REASON_TEXT;
export type RejectCode = keyof typeof REJECT_TEXT;

export const REASON_CODES: readonly ReasonCode[] = Object.freeze(
  Object.keys(REASON_TEXT) as ReasonCode[],
);
export const REJECT_CODES: readonly RejectCode[] = Object.freeze(
  Object.keys(REJECT_TEXT) as RejectCode[],
);

const TEXTS: ReadonlyMap<string, string> = new Map<string, string>([
  ...Object.entries(REASON_TEXT),
  ...Object.entries(REJECT_TEXT),
]);

/** Makes a reason; parameters carry only what the code does not say. */
export function reason(code: ReasonCode, params?: Params): Reason {
  return params === undefined ? { code } : { code, params };
}

/** Renders a reason or `{ code: rejectCode }` in English; codes of newer builds are shown raw. */
export function renderReason(given: Reason): string {
  const text = TEXTS.get(given.code);
  const params = given.params ?? {};
  if (text === undefined) {
    return `${given.code} ${JSON.stringify(params)}`;
  }
  return text.replaceAll(/\{(#?)(\w+)\}/g, (_, grouped: string, name: string) => {
    const value = params[name] ?? '?';
    return grouped === '#' && typeof value === 'number' ? withThousands(value) : String(value);
  });
}

/** Groups digits by three, without locale data: the same text on every host. */
function withThousands(value: number): string {
  const [whole = '', fraction] = String(Math.round(value * 1000) / 1000).split('.');
  const grouped = whole.replaceAll(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}
