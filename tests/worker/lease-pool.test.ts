import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import type { SlotPermit, SlotReserveContext } from '@temporalio/worker';
import { LeasePool } from '../../worker/lease-pool.ts';

const OWNER = { runId: 'r', shard: 0, lane: 0 };
const CONTEXT = { slotType: 'activity', taskQueue: 'q' } as unknown as SlotReserveContext;

interface Rig {
  readonly pool: LeasePool;
  advance(ms: number): void;
  /** Starts a reservation; `permit` is null until it is granted. */
  poll(): { permit: SlotPermit | null; error: unknown; abort(): void };
  done(permit: SlotPermit): void;
}

function rig(capacity: number, ttlMs = 1000): Rig {
  let now = 0;
  let timers: { at: number; action: () => void }[] = [];
  const pool = new LeasePool({
    capacity,
    ttlMs,
    now: () => now,
    schedule: (delayMs, action) => timers.push({ at: now + delayMs, action }),
  });
  return {
    pool,
    advance: (ms) => {
      const end = now + ms;
      for (;;) {
        const due = timers.filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers = timers.filter((timer) => timer !== due);
        now = due.at;
        due.action();
      }
      now = end;
    },
    poll: () => {
      const controller = new AbortController();
      const state = {
        permit: null as SlotPermit | null,
        error: null as unknown,
        abort: () => controller.abort(),
      };
      pool.supplier.reserveSlot(CONTEXT, controller.signal).then(
        (permit) => (state.permit = permit),
        (error: unknown) => (state.error = error),
      );
      return state;
    },
    done: (permit) => pool.supplier.releaseSlot({ permit }),
  };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('LeasePool', () => {
  test('grants polls while leases and outstanding permits together leave room', async () => {
    const { pool, poll, done } = rig(2);
    const first = poll();
    const second = poll();
    const third = poll();
    await settle();
    expect([first.permit, second.permit, third.permit].map((permit) => permit !== null)).toEqual([
      true,
      true,
      false,
    ]);
    pool.book().claim(OWNER);
    done(first.permit as SlotPermit);
    await settle();
    expect(third.permit).toBeNull();
    expect(pool.leases + pool.permits).toBe(2);
  });

  test('lets a waiting poll go on when a lease is released', async () => {
    const { pool, poll } = rig(1);
    const lease = pool.book().claim(OWNER);
    const waiting = poll();
    await settle();
    expect(waiting.permit).toBeNull();
    pool.book().release(lease);
    await settle();
    expect(waiting.permit).not.toBeNull();
  });

  test('lets a waiting poll go on when a lease expires, and not while it is renewed', async () => {
    const { pool, poll, advance } = rig(1, 1000);
    const hold = pool.book().hold(pool.book().claim(OWNER));
    const waiting = poll();
    advance(900);
    hold.renew();
    advance(900);
    await settle();
    expect(waiting.permit).toBeNull();
    advance(101);
    await settle();
    expect(waiting.permit).not.toBeNull();
    expect(pool.leases).toBe(0);
  });

  test('a poll that timed out gives its permit to the next one', async () => {
    const { poll, done } = rig(1);
    const first = poll();
    const second = poll();
    await settle();
    done(first.permit as SlotPermit);
    await settle();
    expect(second.permit).not.toBeNull();
  });

  test('keeps idle polls of one queue from starving another, and never leases too much', async () => {
    const { pool, poll } = rig(1);
    let isOpen = false;
    const supplier = pool.createSupplier(() => isOpen);
    const idle = poll();
    let permit: SlotPermit | null = null;
    void supplier
      .reserveSlot(CONTEXT, new AbortController().signal)
      .then((granted) => (permit = granted));
    await settle();
    expect([idle.permit !== null, permit]).toEqual([true, null]);
    isOpen = true;
    pool.wake();
    await settle();
    expect(permit).not.toBeNull();
    pool.book().claim(OWNER);
    expect(() => pool.book().claim(OWNER)).toThrow(expect.objectContaining({ code: 'LEASE_LOST' }));
  });

  test('rejects an aborted reservation with an AbortError and forgets it', async () => {
    const { pool, poll } = rig(1);
    const lease = pool.book().claim(OWNER);
    const aborted = poll();
    aborted.abort();
    await settle();
    expect((aborted.error as Error).name).toBe('AbortError');
    pool.book().release(lease);
    await settle();
    expect(pool.permits).toBe(0);
  });

  test('readmits an unknown lease if there is room, else answers LEASE_LOST', () => {
    const { pool } = rig(1);
    pool.book().hold('from-before-the-restart');
    expect(pool.leases).toBe(1);
    expect(() => pool.book().hold('another')).toThrow(
      expect.objectContaining({ code: 'LEASE_LOST' }),
    );
  });

  test('refuses the claim of a permit whose room a readmitted lease took', async () => {
    const { pool, poll } = rig(1);
    const idle = poll();
    await settle();
    expect(idle.permit).not.toBeNull();
    pool.book().hold('from-before-the-restart');
    expect(() => pool.book().claim(OWNER)).toThrow(expect.objectContaining({ code: 'LEASE_LOST' }));
  });

  test('a hold on an expired lease does not bring it back by renewing', () => {
    const { pool, advance } = rig(1, 1000);
    const hold = pool.book().hold('slow');
    advance(1001);
    pool.book().hold('quick');
    hold.renew();
    hold.done();
    expect(pool.leases).toBe(1);
  });

  test('answers HOST_DRAINING and grants nothing once it drains', async () => {
    const { pool, poll } = rig(2);
    const lease = pool.book().claim(OWNER);
    pool.drain();
    const waiting = poll();
    await settle();
    expect(waiting.permit).toBeNull();
    for (const call of [() => pool.book().claim(OWNER), () => pool.book().hold(lease)]) {
      expect(call).toThrow(expect.objectContaining({ code: 'HOST_DRAINING' }));
    }
    pool.book().release(lease);
    expect(pool.leases).toBe(0);
  });

  test('never holds more leases than its capacity, whatever happens in whatever order', async () => {
    const step = fc.constantFrom('poll', 'claim', 'idle', 'release', 'hold', 'advance');
    const runs = fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(step, { maxLength: 60 }),
      async (capacity, steps) => {
        const { pool, poll, done, advance } = rig(capacity);
        const polls: ReturnType<typeof poll>[] = [];
        const leases: string[] = [];
        for (const action of steps) {
          const granted = polls.findIndex(({ permit }) => permit !== null);
          if (action === 'poll') polls.push(poll());
          if (action === 'advance') advance(300);
          if (action === 'release' && leases.length > 0) pool.book().release(leases.shift() ?? '');
          if (granted >= 0 && (action === 'claim' || action === 'idle')) {
            const permit = polls.splice(granted, 1)[0]?.permit ?? {};
            try {
              if (action === 'claim') leases.push(pool.book().claim(OWNER));
            } catch {
              // refused: a readmitted lease took the room
            }
            done(permit);
          }
          if (action === 'hold') {
            try {
              pool.book().hold(`unknown-${leases.length}`);
            } catch {
              // no room
            }
          }
          expect(pool.leases).toBeLessThanOrEqual(capacity);
          expect(pool.permits).toBeLessThanOrEqual(capacity);
          await Promise.resolve();
        }
      },
    );
    await fc.assert(runs, { numRuns: 100 });
  });
});
