// Owns the structure of a request: what each verb needs, and within which bounds.
import type { PinAspect } from '../planner/index.ts';
import {
  AUTHOR_CHARACTERS_MAX,
  CADENCE_MAX,
  CHUNKS_MAX,
  CHUNK_SECONDS_MAX,
  CHUNK_SECONDS_MIN,
  LANES_MAX,
  MEMORY_BYTES_MIN,
  PINS_MAX,
  RANGES_MAX,
  REASON_CHARACTERS_MAX,
  TEXT_CHARACTERS_MAX,
  TTL_MS_MAX,
  VIA_CHARACTERS_MAX,
} from './limits.ts';
import { samePlace } from './pins.ts';
import {
  alsoExpecting,
  asRecord,
  firstOf,
  list,
  object,
  oneOf,
  orNull,
  ownValue,
  problem,
  shown,
  text,
  wholeNumber,
  type Check,
} from './shape.ts';
import type { OperatorLimits, OperatorVerb, PinWish, TileRange } from './types.ts';

const SAFE_MAX = Number.MAX_SAFE_INTEGER;
const anyText = text(1, TEXT_CHARACTERS_MAX);
const ttlMs = orNull(wholeNumber(1, TTL_MS_MAX, 'milliseconds (366 days)'));

const ASPECTS: Readonly<Record<PinAspect, Check>> = {
  runtime: oneOf(['cpu', 'gpu']),
  variant: anyText,
  precision: oneOf(['fp32', 'fp64']),
  chunkRows: wholeNumber(1, SAFE_MAX, 'rows'),
  device: anyText,
  host: anyText,
};

const aspect: Check = oneOf(Object.keys(ASPECTS));
const pinValue = (record: Readonly<Record<string, unknown>>): Check => {
  const known = ownValue(record, 'aspect');
  return typeof known === 'string' && Object.hasOwn(ASPECTS, known)
    ? ASPECTS[known as PinAspect]
    : () => null;
};

const SCOPES: Readonly<Record<PinWish['scope']['kind'], Check>> = {
  run: object({ kind: oneOf(['run']) }),
  operation: object({ kind: oneOf(['operation']), operation: anyText }),
  tiles: (path, value) => {
    const tile = wholeNumber(0, SAFE_MAX, '');
    const found = object({ kind: oneOf(['tiles']), firstTile: tile, lastTile: tile })(path, value);
    const { firstTile, lastTile } = value as { firstTile: number; lastTile: number };
    if (found !== null || firstTile <= lastTile) return found;
    return problem(`${path}.lastTile`, `at least firstTile, ${firstTile}`, lastTile);
  },
  chunks: object({ kind: oneOf(['chunks']), count: wholeNumber(1, CHUNKS_MAX, 'chunks') }),
};

const scope: Check = (path, value) => {
  const record = asRecord(value);
  if (record === null) return problem(path, 'an object', value);
  const kind = ownValue(record, 'kind');
  return (
    oneOf(Object.keys(SCOPES))(`${path}.kind`, kind) ??
    SCOPES[kind as PinWish['scope']['kind']](path, value)
  );
};

const pinWish: Check = (path, value) =>
  object({
    aspect,
    value: pinValue(asRecord(value) ?? {}),
    scope,
    ttlMs,
    ttlChunks: orNull(wholeNumber(1, CHUNKS_MAX, 'chunks')),
    ifImpossible: oneOf(['hold', 'fail']),
    allowAbsent: oneOf([true, false]),
  })(path, value);

const pins: Check = (path, value) => {
  const found = list(1, PINS_MAX, pinWish)(path, value);
  if (found !== null) return found;
  const wishes = value as readonly PinWish[];
  const twice = wishes.findIndex((wish, index) =>
    wishes.slice(0, index).some((other) => samePlace(other, wish)),
  );
  if (twice < 0) return null;
  const { aspect: again } = wishes[twice] as PinWish;
  return `${path}.${twice}: expected one pin per aspect and scope, got ${again} twice`;
};

const ranges: Check = (path, value) => {
  const tile = wholeNumber(0, SAFE_MAX, '');
  const range = object({ firstTile: tile, endTile: tile });
  const found = list(1, RANGES_MAX, range)(path, value);
  if (found !== null) return found;
  let end = 0;
  for (const [index, { firstTile, endTile }] of (value as readonly TileRange[]).entries()) {
    const at = `${path}.${index}`;
    if (firstTile >= endTile) return problem(`${at}.endTile`, `more than ${firstTile}`, endTile);
    if (firstTile < end) {
      return `${at}.firstTile: expected ascending ranges, ${end} or more, got ${firstTile}`;
    }
    end = endTile;
  }
  return null;
};

const select = object({ tiles: orNull(ranges), fingerprint: orNull(anyText) });

const orderPin: Check = (path, value) =>
  object({ aspect, value: pinValue(asRecord(value) ?? {}) })(path, value);

const LIMITS: Readonly<Record<keyof OperatorLimits, Check>> = {
  lanes: wholeNumber(1, LANES_MAX, 'lanes'),
  chunkSecondsTarget: (path, value) =>
    typeof value === 'number' && value >= CHUNK_SECONDS_MIN && value <= CHUNK_SECONDS_MAX
      ? null
      : problem(path, `a number from ${CHUNK_SECONDS_MIN} to ${CHUNK_SECONDS_MAX} seconds`, value),
  memoryBytesMax: wholeNumber(MEMORY_BYTES_MIN, SAFE_MAX, 'bytes (16 MiB)'),
  cadence: (path, value) => {
    if (value === 'every-chunk') return null;
    const found = wholeNumber(1, CADENCE_MAX, 'chunks')(path, value);
    return alsoExpecting('every-chunk', path, found);
  },
  failedTiles: wholeNumber(0, SAFE_MAX, 'tiles'),
};

const limits: Check = (path, value) => {
  const record = asRecord(value);
  if (record === null) return problem(path, 'an object', value);
  const names = Object.keys(record).filter((key) => record[key] !== undefined);
  const known = Object.keys(LIMITS).join(', ');
  const unknown = names.find((name) => !Object.hasOwn(LIMITS, name));
  if (names.length === 0 || unknown !== undefined) {
    return `${path}: expected one or more of ${known}, got ${shown(unknown)}`;
  }
  return firstOf(
    names.map((name) => LIMITS[name as keyof OperatorLimits](`${path}.${name}`, record[name])),
  );
};

const VERBS: Readonly<Record<OperatorVerb, Readonly<Record<string, Check>>>> = {
  pause: { mode: oneOf(['drain', 'now']), ttlMs },
  resume: {},
  cancel: {},
  pin: { pins },
  unpin: { ids: orNull(list(1, PINS_MAX, anyText)) },
  limits: { set: limits },
  retry: { select, pin: orNull(orderPin) },
  skip: { select },
};

/** Verbs whose effect somebody will ask about later. */
const REASON_NEEDED: ReadonlySet<unknown> = new Set(['pin', 'limits', 'skip', 'cancel']);

const command: Check = (path, value) => {
  const record = asRecord(value);
  if (record === null) return problem(path, 'an object', value);
  const verb = ownValue(record, 'verb');
  const verbs = Object.keys(VERBS);
  return (
    oneOf(verbs)(`${path}.verb`, verb) ??
    object({ verb: oneOf(verbs), ...VERBS[verb as OperatorVerb] })(path, value)
  );
};

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/u;

const requestId: Check = (path, value) =>
  typeof value === 'string' && REQUEST_ID.test(value)
    ? null
    : problem(path, '1 to 128 characters of A-Z a-z 0-9 . _ : -', value);

/** What is wrong with the structure of a request, or null. */
export function shapeProblem(value: unknown): string | null {
  const record = asRecord(value);
  if (record === null) return problem('request', 'an object', value);
  const verb = ownValue(asRecord(ownValue(record, 'command')) ?? {}, 'verb');
  return object({
    schema: oneOf(['tileloom.operator-request/1']),
    id: requestId,
    by: text(1, AUTHOR_CHARACTERS_MAX),
    via: text(1, VIA_CHARACTERS_MAX),
    command,
    reason: text(REASON_NEEDED.has(verb) ? 1 : 0, REASON_CHARACTERS_MAX),
    notAfter: orNull(wholeNumber(0, SAFE_MAX, 'milliseconds since the Unix epoch')),
    expectedEpoch: orNull(wholeNumber(0, SAFE_MAX, '')),
  })('request', value);
}
