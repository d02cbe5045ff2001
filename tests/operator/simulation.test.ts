// Random operators over random runs: 10,000 sequences of requests, chunks, failures and clock steps. The
// properties are in simulated-run.ts, simulated-shard.ts and audit-chain.ts, where they are checked at
// each step; here is what happens, and that all of it does happen.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OperatorCommand, PinWish } from '../../operator/index.ts';
import { countTiles } from '../../workflows/intervals.ts';
import { SimulatedRun, type Step } from './simulated-run.ts';
import type { Outcome } from './simulated-shard.ts';
import { wish } from './values.ts';

const TILES_EACH = 9;

const ttlMs = fc.constantFrom(null, null, 1, 40, 1000);
const tile = fc.nat({ max: 3 * TILES_EACH });
const scope: fc.Arbitrary<PinWish['scope']> = fc.oneof(
  fc.constant({ kind: 'run' } as const),
  fc.constant({ kind: 'operation', operation: 'assign' } as const),
  fc.tuple(fc.nat({ max: 8 }), fc.constantFrom(0, 2, 2, 2, 5)).map(([firstTile, more]) => {
    return { kind: 'tiles', firstTile, lastTile: firstTile + more } as const;
  }),
  fc.integer({ min: 1, max: 3 }).map((count) => ({ kind: 'chunks', count }) as const),
);
const pinned = fc.constantFrom('assign/a@1', 'assign/b@1', 'assign/none@1');
const pins = fc
  .array(
    fc
      .tuple(pinned, scope, ttlMs, fc.constantFrom(null, null, 1, 2))
      .map(([value, where, time, ttlChunks]) =>
        wish({ value, scope: where, ttlMs: time, ttlChunks }),
      ),
    { minLength: 1, maxLength: 2 },
  )
  .map((wishes) => ({ verb: 'pin', pins: wishes }) as const);

const select = fc.oneof(
  fc.constant({ tiles: null, fingerprint: null }),
  tile.map((firstTile) => {
    return { tiles: [{ firstTile, endTile: firstTile + 4 }], fingerprint: null };
  }),
);

const command: fc.Arbitrary<OperatorCommand> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom('drain', 'now'), ttlMs).map(toPause) },
  { weight: 5, arbitrary: fc.constant({ verb: 'resume' } as const) },
  { weight: 6, arbitrary: pins },
  {
    weight: 2,
    arbitrary: fc
      .option(
        fc.array(
          fc.nat({ max: 12 }).map((n) => `pin-${n}`),
          { minLength: 1, maxLength: 2 },
        ),
      )
      .map((ids) => ({ verb: 'unpin', ids }) as const),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ lanes: fc.nat({ max: 4 }), cadence: fc.nat({ max: 3 }) })
      .map((set) => ({ verb: 'limits', set }) as const),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(select, fc.option(pinned.map((value) => ({ aspect: 'variant', value }) as const)))
      .map(([tiles, pin]) => ({ verb: 'retry', select: tiles, pin }) as const),
  },
  { weight: 2, arbitrary: select.map((tiles) => ({ verb: 'skip', select: tiles }) as const) },
  { weight: 1, arbitrary: fc.constant({ verb: 'cancel' } as const) },
);

function toPause([mode, time]: [string, number | null]): OperatorCommand {
  return { verb: 'pause', mode: mode as 'drain', ttlMs: time };
}

const shard = fc.nat({ max: 2 });
const outcome = fc.constantFrom<Outcome>(
  ...(['done', 'done', 'done', 'data', 'data', 'fault', 'fault', 'lost', 'memory'] as const),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      who: fc.constantFrom('ann', 'bob'),
      command,
      behind: fc.constantFrom(null, null, null, 0, 1),
      late: fc.constantFrom(false, false, false, false, true),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('again' as const), nth: fc.nat({ max: 20 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.nat({ max: 60 }) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        ...(['deliver', 'deliver', 'deliver', 'follow', 'seal', 'rotate'] as const),
      ),
      shard,
    }),
  },
  {
    weight: 24,
    arbitrary: fc.record({
      kind: fc.constant('lane' as const),
      shard,
      lane: fc.constantFrom(0, 0, 0, 1, 1, 1, 2, 3),
      outcome,
      times: fc.constantFrom(1, 1, 2, 3, 5, 8),
    }),
  },
);

const LEAST: Readonly<Record<string, number>> = {
  accepted: 50_000,
  again: 1000,
  ended: 5000,
  cancelled: 500,
  'starts before the end': 50_000,
  retried: 20,
  'pinned by chunks': 100,
  'parked at the end': 100,
  'skipped at the end': 10,
  OPERATOR_REQUEST_INVALID: 500,
  OPERATOR_REQUEST_EXPIRED: 1000,
  OPERATOR_CONFLICT: 1000,
  OPERATOR_RUN_ENDING: 1000,
  OPERATOR_PIN_UNKNOWN: 100,
  OPERATOR_TILES_UNKNOWN: 500,
};

describe('a simulated run under two operators', () => {
  test('keeps every promise over 10,000 sequences of commands', () => {
    const seen = new Map<string, number>();
    const see = (what: string, times = 1): void => {
      seen.set(what, (seen.get(what) ?? 0) + times);
    };
    const property = fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.array(pins, { maxLength: 4 }),
      fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }),
      (shards, early, steps) => {
        const run = new SimulatedRun(shards, TILES_EACH);
        for (const one of early) run.begin(one);
        for (const one of steps) run.take(one);
        run.checkReplay();
        see('starts before the end', run.starts.length);
        run.finish();
        for (const [code, times] of run.codes) see(code, times);
        see(run.operator.cancel === null ? 'ended' : 'cancelled');
        for (const { state } of run.shards) {
          see('parked at the end', state.parked.count);
          see('skipped at the end', countTiles(state.skipped));
        }
        see('retried', run.starts.filter(({ orderPin }) => orderPin !== null).length);
        see('pinned by chunks', run.starts.filter(({ uses }) => uses.length > 0).length);
      },
    );
    fc.assert(property, { numRuns: 10_000 });
    // Each kind of thing does happen, so that no property holds for want of cases.
    for (const [what, least] of Object.entries(LEAST)) {
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(least);
    }
  }, 180_000);
});
