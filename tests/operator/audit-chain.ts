// An oracle of the operator state that knows audit entries only: what each epoch was, put together
// from `after`, while `before` must be what the chain says already.
import type { AuditEntry, OperatorState, ParkedOrder } from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';

export interface KnownState {
  readonly pause: OperatorState['pause'];
  readonly limits: OperatorState['limits'];
  readonly cancel: OperatorState['cancel'];
  readonly pins: readonly Pin[];
}

export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

const same = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one) === JSON.stringify(other);

export class AuditChain {
  readonly entries: AuditEntry[] = [];
  readonly #known: KnownState[];
  readonly #firstEpoch: number;
  #orders: readonly ParkedOrder[];

  constructor({ epoch, pause, limits, cancel, pins, parkedOrders }: OperatorState) {
    this.#known = [{ pause, limits, cancel, pins }];
    this.#firstEpoch = epoch;
    this.#orders = parkedOrders;
  }

  /** What held at an epoch. */
  at(epoch: number): KnownState {
    return this.#known[epoch - this.#firstEpoch] as KnownState;
  }

  push(entry: AuditEntry, state: OperatorState): void {
    const last = this.#known.at(-1) as KnownState;
    const { before, after, epoch } = entry;
    must(epoch === this.#firstEpoch + this.#known.length, `epoch ${epoch} follows the last`);
    must(same(Object.keys(before), Object.keys(after)), 'before and after name the same parts');
    for (const part of ['pause', 'limits', 'cancel'] as const) {
      must(!(part in before) || same(before[part], last[part]), `${part} was ${part} of before`);
      must(!(part in before) || !same(before[part], after[part]), `${part} changed`);
    }
    const gone = before.pins ?? [];
    must(
      gone.every((pin) => last.pins.some((known) => same(known, pin))),
      'pins that went were there',
    );
    const kept = last.pins.filter(({ id }) => !gone.some((pin) => pin.id === id));
    const { pause, limits, cancel } = { ...last, ...after };
    this.#known.push({ pause, limits, cancel, pins: [...kept, ...(after.pins ?? [])] });
    this.#orders = [...this.#orders, ...(after.parkedOrders ?? [])];
    this.entries.push(entry);
    this.check(state);
  }

  /** The chain's end is the state. */
  check(state: OperatorState): void {
    const last = this.#known.at(-1) as KnownState;
    must(state.epoch === this.#firstEpoch + this.#known.length - 1, 'the epoch is the chain’s');
    must(same(state.pause, last.pause), 'the pause is the chain’s');
    must(same(state.limits, last.limits), 'the limits are the chain’s');
    must(same(state.cancel, last.cancel), 'the cancel is the chain’s');
    must(same(byId(state.pins), byId(last.pins)), 'the pins are the chain’s');
    must(same(state.parkedOrders, this.#orders.slice(-16)), 'the orders are the chain’s');
  }
}

function byId(pins: readonly Pin[]): Pin[] {
  return pins.toSorted((one, other) => (one.id < other.id ? -1 : 1));
}
