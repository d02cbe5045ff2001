// A whole run without a server: the real operator reducer over real shard states, two operators, lost
// and late signals of a clock that jumps; an oracle made of audit entries judges each start.
import {
  applyRequest,
  expire,
  nextExpiryMs,
  refusalOf,
  type OperatorCommand,
  type OperatorFacts,
  type OperatorRequest,
  type OperatorState,
} from '../../operator/index.ts';
import type { Pin } from '../../planner/index.ts';
import { AuditChain, must } from './audit-chain.ts';
import { SimulatedShard, type Outcome, type Start } from './simulated-shard.ts';
import { LIMITS, NOW } from './values.ts';

export type Step =
  | {
      readonly kind: 'ask';
      readonly who: string;
      readonly command: OperatorCommand;
      /** Epoch that the operator expects, counted back from the present one; null: any. */
      readonly behind: number | null;
      readonly late: boolean;
    }
  /** Sends a request that was sent before once more. */
  | { readonly kind: 'again'; readonly nth: number }
  | { readonly kind: 'time'; readonly ms: number }
  | { readonly kind: 'deliver' | 'follow' | 'seal' | 'rotate'; readonly shard: number }
  | {
      readonly kind: 'lane';
      readonly shard: number;
      readonly lane: number;
      readonly outcome: Outcome;
      /** How often the lane moves on. */
      readonly times: number;
    };

interface Recorded {
  readonly request: OperatorRequest;
  readonly facts: OperatorFacts;
}

export class SimulatedRun {
  readonly shards: readonly SimulatedShard[];
  readonly starts: Start[] = [];
  readonly codes = new Map<string, number>();
  readonly #tiles: number;
  readonly #first: OperatorState;
  readonly #chain: AuditChain;
  readonly #sent: OperatorRequest[] = [];
  readonly #accepted: Recorded[] = [];
  /** Chunks that started under each pin, by shard. */
  readonly #uses: readonly Map<string, number>[];
  #operator: OperatorState;
  #nowMs = NOW;

  constructor(shards: number, tilesEach: number) {
    this.#tiles = shards * tilesEach;
    this.#first = {
      epoch: 0,
      ...{ pause: null, pins: [], parkedOrders: [], cancel: null, recent: [] },
      limits: { ...LIMITS, failedTiles: this.#tiles },
    };
    this.#operator = this.#first;
    this.#chain = new AuditChain(this.#first);
    this.#uses = Array.from({ length: shards }, () => new Map<string, number>());
    this.shards = Array.from(
      { length: shards },
      (_, n) => new SimulatedShard(n, n * tilesEach, (n + 1) * tilesEach, this.#first),
    );
  }

  get operator(): OperatorState {
    return this.#operator;
  }

  take(step: Step): void {
    switch (step.kind) {
      case 'ask':
        this.ask(step);
        break;
      case 'again': {
        const request = this.#sent[step.nth % Math.max(1, this.#sent.length)];
        if (request !== undefined) this.#send(request);
        break;
      }
      case 'time':
        this.#nowMs += step.ms;
        this.#expire();
        break;
      case 'lane': {
        const shard = this.#shard(step.shard);
        for (let time = 0; time < step.times; time += 1) {
          const start = shard.step(step.lane, step.outcome, this.#nowMs);
          if (start !== null) this.#judge(start);
        }
        shard.checkTiles();
        break;
      }
      case 'deliver':
      case 'follow':
      case 'seal':
      case 'rotate': {
        const shard = this.#shard(step.shard);
        shard[step.kind]();
        shard.checkTiles();
        break;
      }
    }
  }

  /** Asks for something before any chunk starts, and lets every shard know. */
  begin(command: OperatorCommand): void {
    this.ask({ kind: 'ask', who: 'ann', command, behind: null, late: false });
    for (const shard of this.shards) shard.deliver();
  }

  ask({ who, command, behind, late }: Extract<Step, { kind: 'ask' }>): void {
    const { epoch } = this.#operator;
    this.#send({
      schema: 'tileloom.operator-request/1',
      id: `${who}-${this.#sent.length}`,
      by: who,
      via: 'simulation',
      reason: 'it is simulated',
      notAfter: late ? this.#nowMs - 1 : null,
      expectedEpoch: behind === null ? null : Math.max(0, epoch - behind),
      command,
    });
  }

  #deliverAll(shard: number): void {
    const one = this.#shard(shard);
    while (one.signals.length > 0) {
      one.deliver();
      one.follow();
    }
    for (let order = 0; order < 16; order += 1) one.follow();
    one.checkTiles();
  }

  #shard(index: number): SimulatedShard {
    return this.shards[index % this.shards.length] as SimulatedShard;
  }

  #send(request: OperatorRequest): void {
    this.#sent.push(request);
    const facts = { nowMs: this.#nowMs, phase: 'running', tiles: this.#tiles };
    const before = this.#operator;
    const known = this.#accepted.some((one) => one.request.id === request.id);
    const refusal = refusalOf(before, request, facts);
    const code = refusal?.code ?? (known ? 'again' : 'accepted');
    this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
    if (refusal !== null) {
      must(!known, 'a request that was accepted is never refused');
      return;
    }
    const { state, entry } = applyRequest(before, request, facts);
    must(!known || state === before, 'a request that was accepted changes nothing again');
    must(entry === null || entry.at === this.#nowMs, 'an entry has the time of its request');
    if (!known) this.#accepted.push({ request, facts });
    this.#adopt(state, entry);
  }

  #adopt(state: OperatorState, entry: ReturnType<typeof expire>['entry']): void {
    const { epoch } = this.#operator;
    must(state.epoch === epoch + (entry === null ? 0 : 1), 'the epoch grows with each change');
    this.#operator = state;
    if (entry === null) return;
    this.#chain.push(entry, state);
    for (const shard of this.shards) shard.signals.push(state);
  }

  #expire(): void {
    for (;;) {
      const due = nextExpiryMs(this.#operator);
      const { state, entry } = expire(this.#operator, this.#nowMs);
      must(
        (due !== null && due <= this.#nowMs) === (entry !== null),
        'what is due ends, only that',
      );
      if (entry === null) break;
      const ends = [
        ...(entry.before.pins ?? []).map(({ expiresAt }) => expiresAt),
        ...(entry.before.pause ? [entry.before.pause.until] : []),
      ];
      must(ends.length > 0 && ends.every((end) => end === entry.at), 'it ends at its own time');
      this.#adopt(state, entry);
    }
    const { pause, pins } = this.#operator;
    const ends = [pause?.until ?? null, ...pins.map(({ expiresAt }) => expiresAt)];
    must(
      ends.every((end) => end === null || end > this.#nowMs),
      'nothing that is over is left',
    );
  }

  /** Judges a start by what the audit says of the epoch that its shard had acknowledged. */
  #judge(start: Start): void {
    must(start.epoch === start.shardEpoch, 'a plan of an older epoch is superseded');
    const { pause, cancel, pins } = this.#chain.at(start.shardEpoch);
    must(pause === null, 'no chunk starts in a shard that has acknowledged a pause');
    must(cancel === null, 'no chunk starts in a shard that knows of a cancel');
    this.starts.push(start);
    for (let tile = start.firstTile; tile < start.endTile; tile += 1) {
      const allowed = pinnedVariant(pins, tile, start);
      must(
        allowed === null || allowed === start.variant,
        `tile ${tile} runs ${start.variant} where ${String(allowed)} is pinned`,
      );
    }
    const uses = this.#uses[start.shard] as Map<string, number>;
    for (const id of start.uses) uses.set(id, (uses.get(id) ?? 0) + 1);
    const { state } = this.#shard(start.shard);
    const isPlanning = this.#shard(start.shard).isPlanning();
    for (const { id, chunksLeft } of state.operator.pins) {
      const started = uses.get(id) ?? 0;
      must(chunksLeft === null || started <= chunksLeft, `pin ${id} is not used too often`);
      const counted = state.pinUses[id] ?? 0;
      must(isPlanning ? counted >= started : counted === started, `uses of ${id} are counted`);
    }
  }

  /** Recorded requests over the first state lead to the state. */
  checkReplay(): void {
    let state = this.#first;
    const catchUp = (nowMs: number): void => {
      for (let next = expire(state, nowMs); next.entry !== null; next = expire(state, nowMs)) {
        state = next.state;
      }
    };
    for (const { request, facts } of JSON.parse(JSON.stringify(this.#accepted)) as Recorded[]) {
      catchUp(facts.nowMs);
      must(refusalOf(state, request, facts) === null, 'what was accepted is accepted again');
      ({ state } = applyRequest(state, request, facts));
    }
    catchUp(this.#nowMs);
    must(JSON.stringify(state) === JSON.stringify(this.#operator), 'replay gives the same state');
  }

  /** Lets everything that holds the run go, and drives it to its end. */
  finish(): void {
    const say = (command: OperatorCommand): void =>
      this.ask({ kind: 'ask', who: 'end', command, behind: null, late: false });
    // Lanes give up what they hold, so that the last order reaches all that an older one pinned.
    say({ verb: 'pause', mode: 'now', ttlMs: null });
    for (const [shard, one] of this.shards.entries()) {
      this.#deliverAll(shard);
      for (let lane = 0; lane < 4; lane += 1) one.step(lane, 'done', this.#nowMs);
    }
    say({ verb: 'unpin', ids: null });
    say({ verb: 'retry', select: { tiles: null, fingerprint: null }, pin: null });
    say({ verb: 'resume' });
    for (const [shard, one] of this.shards.entries()) {
      this.#deliverAll(shard);
      for (let turn = 0; one.isBusy(); turn += 1) {
        must(turn < 2000, `shard ${shard} comes to an end`);
        this.take({ kind: 'lane', shard, lane: turn % 4, outcome: 'done', times: 1 });
      }
      one.seal();
      one.checkTiles();
    }
    this.checkReplay();
  }
}

/** What the pins, or the order that this tile is retried by, fix for a tile; null: nothing. */
function pinnedVariant(pins: readonly Pin[], tile: number, start: Start): string | null {
  if (start.orderPin !== null) return start.orderPin;
  const left = ({ id, chunksLeft }: Pin): number =>
    (chunksLeft ?? Infinity) - (start.usesBefore[id] ?? 0);
  const winner = ranked(pins, tile, start).find((pin) => left(pin) > 0);
  return winner === undefined ? null : String(winner.value);
}

/** Variant pins that cover a tile at the time of the plan, the one that wins first. */
function ranked(pins: readonly Pin[], tile: number, { plannedAt }: Start): Pin[] {
  const width = ({ scope }: Pin): number => {
    if (scope.kind === 'chunks') return 0;
    if (scope.kind === 'tiles') return 1 + scope.lastTile - scope.firstTile;
    return scope.kind === 'operation' ? 1e9 : 1e10;
  };
  return pins
    .filter(
      ({ aspect, expiresAt, scope }) =>
        aspect === 'variant' &&
        (expiresAt === null || expiresAt > plannedAt) &&
        (scope.kind !== 'operation' || scope.operation === 'assign') &&
        (scope.kind !== 'tiles' || (scope.firstTile <= tile && tile <= scope.lastTile)),
    )
    .toSorted(
      (one, other) =>
        width(one) - width(other) || other.epoch - one.epoch || (one.id < other.id ? -1 : 1),
    );
}
