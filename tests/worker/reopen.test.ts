import { describe, expect, test } from 'vitest';
import { createReopener } from '../../worker/reopen.ts';

describe('createReopener', () => {
  test('looks ever less often while no GPU is in service, and not at all while one is', () => {
    let inService = true;
    let looks = 0;
    const planned: { delayMs: number; action: () => void }[] = [];
    const changed = createReopener({
      isInService: () => inService,
      look: () => (looks += 1),
      schedule: (delayMs, action) => planned.push({ delayMs, action }),
    });
    changed();
    expect(planned).toEqual([]);
    inService = false;
    changed();
    changed();
    for (let round = 0; round < 7; round += 1) planned[round]?.action();
    expect(planned.map(({ delayMs }) => delayMs / 1_000)).toEqual([
      30, 60, 120, 240, 480, 600, 600, 600,
    ]);
    expect(looks).toBe(7);
    inService = true;
    planned[7]?.action();
    expect([looks, planned.length]).toEqual([8, 8]);
    inService = false;
    changed();
    expect(planned[8]?.delayMs).toBe(30_000);
  });
});
