// Owns what an accepted request does to the operator state.
//
// I1 the epoch grows by one when something changes, and only then
// I2 a request is applied once: a repeated one changes nothing
// I3 the entry says what changed, so that the entries of a run lead from its first state to its last
import type { Pin } from '../planner/index.ts';
import { ORDERS_BYTES_MAX, ORDERS_MAX, RECENT_MAX, jsonBytes } from './limits.ts';
import { setPins } from './pins.ts';
import type {
  AuditEntry,
  AuditedState,
  OperatorFacts,
  OperatorLimits,
  OperatorRequest,
  OperatorState,
  ParkedOrder,
  Pause,
} from './types.ts';

export interface Applied {
  readonly state: OperatorState;
  /** Null when the state was as asked for already. */
  readonly entry: AuditEntry | null;
  /** Ids of the pins that stand for the wishes of a pin request, in their order. */
  readonly pins: readonly string[];
}

/** The epoch at which a request was accepted, or null when it is not remembered. */
export function knownRequest(state: OperatorState, id: string): { readonly epoch: number } | null {
  return state.recent.find((one) => one.id === id) ?? null;
}

/**
 * Applies a request that `refusalOf` let pass. A request that is known already changes nothing.
 * Callers let `expire` end what is over before they apply anything.
 */
export function applyRequest(
  state: OperatorState,
  request: OperatorRequest,
  facts: OperatorFacts,
): Applied {
  const known = knownRequest(state, request.id);
  if (known !== null) {
    const pins = state.pins.filter(({ epoch }) => epoch === known.epoch).map(({ id }) => id);
    return { state, entry: null, pins: request.command.verb === 'pin' ? pins : [] };
  }
  const epoch = state.epoch + 1;
  const { parts, pins } = partsOf(state, request, facts, epoch);
  const difference = differenceOf(state, { ...state, ...parts });
  const changed = Object.keys(difference.after).length > 0;
  const accepted = { id: request.id, epoch: changed ? epoch : state.epoch };
  const recent = [...state.recent, accepted].slice(-RECENT_MAX);
  if (!changed) return { state: { ...state, recent }, entry: null, pins };
  const entry: AuditEntry = {
    schema: 'tileloom.audit-entry/1',
    epoch,
    at: facts.nowMs,
    by: request.by,
    via: request.via,
    verb: request.command.verb,
    reason: request.reason,
    requestId: request.id,
    ...difference,
  };
  return { state: { ...state, ...parts, epoch, recent }, entry, pins };
}

interface Parts {
  readonly parts: Partial<AuditedState>;
  readonly pins: readonly string[];
}

function partsOf(
  state: OperatorState,
  request: OperatorRequest,
  { nowMs }: OperatorFacts,
  epoch: number,
): Parts {
  const { by, reason, command } = request;
  const only = (parts: Partial<AuditedState>): Parts => ({ parts, pins: [] });
  switch (command.verb) {
    case 'pause':
      return only({
        pause: {
          mode: command.mode,
          by,
          reason,
          epoch,
          since: state.pause?.since ?? nowMs,
          until: command.ttlMs === null ? null : nowMs + command.ttlMs,
        },
      });
    case 'resume':
      return only({ pause: null });
    case 'cancel':
      return only({ cancel: state.cancel ?? { by, reason, epoch, at: nowMs } });
    case 'pin': {
      const { pins, ids } = setPins(state.pins, command.pins, request, epoch, nowMs);
      return { parts: { pins }, pins: ids };
    }
    case 'unpin': {
      const ids = command.ids === null ? null : new Set(command.ids);
      return only({ pins: state.pins.filter(({ id }) => ids !== null && !ids.has(id)) });
    }
    case 'limits':
      return only({ limits: { ...state.limits, ...given(command.set) } });
    case 'retry':
    case 'skip': {
      const pin = command.verb === 'retry' ? command.pin : null;
      const order = { kind: command.verb, by, reason, epoch, select: command.select, pin };
      return only({ parkedOrders: keptOrders([...state.parkedOrders, order]) });
    }
  }
}

function given(set: Partial<OperatorLimits>): Partial<OperatorLimits> {
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined));
}

/** The newest orders, as many as the state may hold. */
function keptOrders(orders: readonly ParkedOrder[]): readonly ParkedOrder[] {
  let kept = orders.slice(-ORDERS_MAX);
  while (kept.length > 1 && jsonBytes(kept) > ORDERS_BYTES_MAX) kept = kept.slice(1);
  return kept;
}

/**
 * What changed between two states. Of pins and orders only those that came or went; an order that
 * is forgotten because newer ones took its place did not change.
 */
export function differenceOf(
  old: AuditedState,
  now: AuditedState,
): Pick<AuditEntry, 'before' | 'after'> {
  const before: { -readonly [Part in keyof AuditedState]?: AuditedState[Part] } = {};
  const after: typeof before = {};
  if (!samePause(old.pause, now.pause)) {
    before.pause = old.pause;
    after.pause = now.pause;
  }
  const [gone, come] = [missingIn(now.pins, old.pins), missingIn(old.pins, now.pins)];
  if (gone.length + come.length > 0) {
    before.pins = gone;
    after.pins = come;
  }
  const names = Object.keys(now.limits) as (keyof OperatorLimits)[];
  if (names.some((name) => old.limits[name] !== now.limits[name])) {
    before.limits = old.limits;
    after.limits = now.limits;
  }
  const newest = old.parkedOrders.at(-1)?.epoch ?? -1;
  const orders = now.parkedOrders.filter(({ epoch }) => epoch > newest);
  if (orders.length > 0) {
    before.parkedOrders = [];
    after.parkedOrders = orders;
  }
  if (old.cancel?.epoch !== now.cancel?.epoch) {
    before.cancel = old.cancel;
    after.cancel = now.cancel;
  }
  return { before, after };
}

/** Pins of a list whose ids the other one lacks: a pin never changes under its id. */
function missingIn(others: readonly Pin[], pins: readonly Pin[]): readonly Pin[] {
  return pins.filter(({ id }) => !others.some((other) => other.id === id));
}

/** Whether a pause is the same to those who obey and read it, whenever it was asked for. */
function samePause(one: Pause | null, other: Pause | null): boolean {
  if (one === null || other === null) return one === other;
  return (
    one.mode === other.mode &&
    one.by === other.by &&
    one.reason === other.reason &&
    one.since === other.since &&
    one.until === other.until
  );
}
