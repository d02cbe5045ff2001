import { describe, expect, test } from 'vitest';
import { Slots } from '../../executor/slots.ts';

const never = new AbortController().signal;

describe('Slots', () => {
  test('never lets more than its capacity run at once and serves in order', async () => {
    const slots = new Slots(2);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, job) => {
        const release = await slots.acquire(0, never);
        order.push(job);
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, job % 3));
        running -= 1;
        release();
      }),
    );
    expect(most).toBe(2);
    expect(order).toEqual(Array.from({ length: 20 }, (_, job) => job));
  });

  test('gives a slot back once, however often it is released', async () => {
    const slots = new Slots(1);
    const release = await slots.acquire(0, never);
    release();
    release();
    const held = await slots.acquire(0, never);
    let admitted = false;
    const waiting = slots.acquire(0, never).then(() => (admitted = true));
    await Promise.resolve();
    expect(admitted).toBe(false);
    held();
    await waiting;
  });

  test('serves the chunk that came first before later ones', async () => {
    const slots = new Slots(1);
    const release = await slots.acquire(1, never);
    const order: string[] = [];
    const enter = async (name: string, rank: number): Promise<void> => {
      const leave = await slots.acquire(rank, never);
      order.push(name);
      leave();
    };
    const all = [enter('second a', 2), enter('second b', 2), enter('first', 1)];
    release();
    await Promise.all(all);
    expect(order).toEqual(['first', 'second a', 'second b']);
  });

  test('forgets a chunk that is cancelled while it waits', async () => {
    const slots = new Slots(1);
    const release = await slots.acquire(1, never);
    const cancelled = new AbortController();
    const waiting = slots.acquire(2, cancelled.signal);
    cancelled.abort(new Error('cancelled'));
    await expect(waiting).rejects.toThrow('cancelled');
    release();
    await slots.acquire(3, never);
  });
});
