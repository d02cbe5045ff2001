import { describe, expect, test } from 'vitest';
import { Slots } from '../../executor/slots.ts';

describe('Slots', () => {
  test('never lets more than its capacity run at once and serves in order', async () => {
    const slots = new Slots(2);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, job) => {
        const release = await slots.acquire();
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
    const release = await slots.acquire();
    release();
    release();
    const held = await slots.acquire();
    let admitted = false;
    const waiting = slots.acquire().then(() => (admitted = true));
    await Promise.resolve();
    expect(admitted).toBe(false);
    held();
    await waiting;
  });
});
