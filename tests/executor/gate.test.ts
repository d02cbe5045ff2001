import { describe, expect, test } from 'vitest';
import { Gate } from '../../executor/gate.ts';

const never = new AbortController().signal;

async function settled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}

describe('Gate', () => {
  test('admits ordinary jobs together', async () => {
    const gate = new Gate();
    await gate.enter(false, never);
    await gate.enter(false, never);
  });

  test('lets a suspect in only when nobody else is inside', async () => {
    const gate = new Gate();
    const leave = await gate.enter(false, never);
    const suspect = gate.enter(true, never);
    expect(await settled(suspect)).toBe(false);
    leave();
    await suspect;
  });

  test('keeps ordinary jobs out while a suspect is inside', async () => {
    const gate = new Gate();
    const leave = await gate.enter(true, never);
    const ordinary = gate.enter(false, never);
    expect(await settled(ordinary)).toBe(false);
    leave();
    await ordinary;
  });

  test('does not let ordinary jobs overtake a waiting suspect', async () => {
    const gate = new Gate();
    const leaveFirst = await gate.enter(false, never);
    const suspect = gate.enter(true, never);
    const late = gate.enter(false, never);
    leaveFirst();
    const leaveSuspect = await suspect;
    expect(await settled(late)).toBe(false);
    leaveSuspect();
    await late;
  });

  test('forgets a job that is aborted while it waits and goes on with the next', async () => {
    const gate = new Gate();
    const leave = await gate.enter(false, never);
    const aborted = new AbortController();
    const suspect = gate.enter(true, aborted.signal);
    const late = gate.enter(false, never);
    aborted.abort(new Error('cancelled'));
    await expect(suspect).rejects.toThrow('cancelled');
    await late;
    leave();
  });

  test('counts a job that leaves twice once', async () => {
    const gate = new Gate();
    const leave = await gate.enter(false, never);
    await gate.enter(false, never);
    leave();
    leave();
    expect(await settled(gate.enter(true, never))).toBe(false);
  });
});
