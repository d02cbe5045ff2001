// Owns how a failed range is narrowed down until one tile is left, and when that tile is parked.
//
// I1 a range is never lost: what a verdict returns covers the failed range exactly once
// I2 a tile is parked only for a data error, or when two different variants failed on it
// I3 exclusions that one range caused are lifted once two variants failed on it: the data is to
//    blame
// I4 a range that cannot be planned is tried with what failed elsewhere: two tiles that each wait for
//    the variant which failed on the other would wait for ever
import type { ParkedOrder } from '../operator/index.ts';
import type { ParkedTile, TileInterval } from './activity-contract.ts';
import type { Failure } from './failures.ts';

/** One failure of a variant on a range. */
export interface Fault {
  readonly variant: string;
  readonly deviceId: string;
  readonly host: string;
  readonly planId: string;
  readonly code: string;
}

/** A range that failed and is tried again by itself, before any free tile. */
export interface Suspect extends TileInterval {
  readonly attempt: number;
  /** Kernel faults on exactly this range, one per variant, device and host. */
  readonly faults: readonly Fault[];
  /** Only what failed on this very tile is excluded from its plans; absent: false. */
  readonly onlyOwn?: boolean;
  /** How often it was tried again after a device was lost under it; absent: never. */
  readonly retries?: number;
  /** What the retry order of this epoch fixes for these tiles; absent: nothing. */
  readonly pin?: NonNullable<ParkedOrder['pin']> & { readonly epoch: number };
}

/** What to do after a failure on a range. */
export interface Verdict {
  readonly suspects: readonly Suspect[];
  readonly free: readonly TileInterval[];
  readonly parked: ParkedTile | null;
  /** Faults whose exclusions no longer hold. */
  readonly lifted: readonly Fault[];
  /** Fault whose variant is excluded on its device from now on. */
  readonly excluded: Fault | null;
}

/** Bounds of what a suspect and a parked tile carry through durable history. */
const FAULTS_MAX = 8;
const MESSAGE_MAX = 240;

/** Faults that speak of a device, and not of what it was given. */
const DEVICE_FAULTS: ReadonlySet<string> = new Set(['DEVICE_LOST', 'DEVICE_FAILED']);
const DEVICE_RETRIES_MAX = 3;

const NOTHING: Verdict = { suspects: [], free: [], parked: null, lifted: [], excluded: null };

/**
 * Judges a data error: isolates the tile it names, else halves the range; a single tile is parked.
 */
export function judgeDataError(range: Suspect, failure: Failure, planId: string): Verdict {
  if (isSingle(range)) {
    const parked = parkedTile(range.firstTile, failure, planId, 'TILE_DATA_ERROR');
    return { ...NOTHING, parked, lifted: range.faults };
  }
  const { tile } = failure;
  if (tile === null || tile < range.firstTile || tile >= range.endTile) return halve(range);
  const alone = part(range, tile, tile + 1);
  const around = [part(range, range.firstTile, tile), part(range, tile + 1, range.endTile)];
  const rest = around.filter(({ firstTile, endTile }) => firstTile < endTile);
  // What an order pinned keeps its pin only as a suspect.
  return range.pin === undefined
    ? { ...NOTHING, suspects: [alone], free: rest.map(withoutHistory), lifted: range.faults }
    : { ...NOTHING, suspects: [alone, ...rest], lifted: range.faults };
}

/**
 * Judges a kernel fault: the first variant is excluded on its device and the range is tried with
 * another one; when a second, independent variant failed too, the range is halved, or its one tile
 * parked.
 */
export function judgeKernelFault(range: Suspect, failure: Failure, fault: Fault): Verdict {
  const before = range.faults.filter((other) => !isSamePlace(other, fault));
  const faults = [...before, fault].slice(-FAULTS_MAX);
  const independent = before.find((other) => other.variant !== fault.variant);
  if (independent === undefined) {
    const again = { ...range, attempt: range.attempt + 1, faults };
    return { ...NOTHING, suspects: [again], excluded: fault };
  }
  if (!isSingle(range)) return { ...halve(range), lifted: faults };
  const both = `${independent.variant}: ${independent.code}; ${fault.variant}: ${messageOf(failure)}`;
  const told = { ...failure, message: both };
  const parked = parkedTile(range.firstTile, told, fault.planId, 'KERNEL_FAULT');
  return { ...NOTHING, parked, lifted: faults };
}

function isSamePlace(one: Fault, other: Fault): boolean {
  return (
    one.variant === other.variant && one.deviceId === other.deviceId && one.host === other.host
  );
}

/** The failure's message with its code in front, unless the message says it already. */
function messageOf({ code, message }: Pick<Failure, 'code' | 'message'>): string {
  return message.includes(code) ? message : `${code}: ${message}`;
}

/**
 * Judges a refused plan: a range that has faults is halved; what cannot be, gives up the protection
 * from what failed elsewhere once, if two variants failed in all: each may work here. Null when
 * neither is left, and the refusal must be followed.
 *
 * @param othersExcluded variants excluded on this host that did not fail on this range
 */
export function judgeRefusal(range: Suspect, othersExcluded: ReadonlySet<string>): Verdict | null {
  if (range.faults.length > 0 && !isSingle(range)) return halve(range);
  const fault = range.faults.at(-1);
  // The pin of a retry order is kept even if what it fixes fails: the tile is parked once more.
  if (range.pin !== undefined && fault !== undefined) return parkAgain(range, fault);
  const failed = new Set([...range.faults.map(({ variant }) => variant), ...othersExcluded]);
  if (range.onlyOwn === true || othersExcluded.size === 0 || failed.size < 2) {
    return retryOnDevice(range);
  }
  return { ...NOTHING, suspects: [{ ...range, attempt: range.attempt + 1, onlyOwn: true }] };
}

function retryOnDevice(range: Suspect): Verdict | null {
  const { faults, attempt, retries = 0 } = range;
  const isDevices = faults.length > 0 && faults.every(({ code }) => DEVICE_FAULTS.has(code));
  if (!isDevices || retries >= DEVICE_RETRIES_MAX) return null;
  const again = { ...range, attempt: attempt + 1, faults: [], retries: retries + 1 };
  return { ...NOTHING, suspects: [again], lifted: faults };
}

function halve(range: Suspect): Verdict {
  const middle = range.firstTile + Math.ceil((range.endTile - range.firstTile) / 2);
  const suspects = [part(range, range.firstTile, middle), part(range, middle, range.endTile)];
  return { ...NOTHING, suspects, lifted: range.faults };
}

/** A part of a failed range, tried by itself; what an order pinned stays pinned. */
function part({ attempt, pin }: Suspect, firstTile: number, endTile: number): Suspect {
  const begin = { firstTile, endTile, attempt: attempt + 1, faults: [] };
  return pin === undefined ? begin : { ...begin, pin };
}

function withoutHistory({ firstTile, endTile }: TileInterval): TileInterval {
  return { firstTile, endTile };
}

function parkAgain(range: Suspect, { variant, code, planId }: Fault): Verdict {
  const told = { message: `${variant}: ${code}`, code, input: null, fingerprint: null };
  const parked = parkedTile(range.firstTile, told, planId, 'KERNEL_FAULT');
  return { ...NOTHING, parked, lifted: range.faults };
}

function isSingle(range: TileInterval): boolean {
  return range.endTile - range.firstTile <= 1;
}

function parkedTile(
  tile: number,
  failure: Pick<Failure, 'code' | 'message' | 'input' | 'fingerprint'>,
  planId: string,
  errorClass: string,
): ParkedTile {
  return {
    tile,
    errorClass,
    fingerprint: failure.fingerprint ?? failure.code,
    input: failure.input ?? '',
    planId,
    message: messageOf(failure).slice(0, MESSAGE_MAX),
  };
}
