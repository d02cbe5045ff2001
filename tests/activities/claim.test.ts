import { describe, expect, test } from 'vitest';
import { createPoolActivities } from '../../activities/index.ts';

const LEASES = {
  claim: () => 'lease-1',
  hold: () => ({ renew: () => undefined, done: () => undefined }),
  release: () => undefined,
};
const OWNER = { runId: 'r', shard: 0, lane: 0 };

describe('claimHost', () => {
  test('answers with a queue for each device', async () => {
    const { claimHost } = createPoolActivities({
      ...{ leases: LEASES, host: 'h', bootId: 'b', devices: ['cpu', 'GPU-1', 'GPU-2'] },
    });
    expect((await claimHost(OWNER)).deviceQueues).toEqual({
      cpu: 'tileloom.h.cpu',
      'GPU-1': 'tileloom.h.GPU-1',
      'GPU-2': 'tileloom.h.GPU-2',
    });
  });

  test('takes no lease for work that needs a GPU when none is in service any more', async () => {
    let claims = 0;
    const { claimHost } = createPoolActivities({
      leases: { ...LEASES, claim: () => `lease-${String((claims += 1))}` },
      ...{ host: 'h', bootId: 'b', devices: ['cpu', 'GPU-1'], canServe: () => false },
    });
    await expect(claimHost(OWNER)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(claims).toBe(0);
  });
});
