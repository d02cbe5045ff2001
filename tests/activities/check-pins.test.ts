// The checkPins activity against a service that names the pollers of its queues.
import type { Client } from '@temporalio/client';
import { describe, expect, test } from 'vitest';
import { checkPins } from '../../activities/check-pins.ts';
import type { PinWish } from '../../operator/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import { WORK, makePin } from '../planner/fixtures.ts';

interface Polled {
  readonly queue: string;
  readonly identity: string;
  readonly secondsAgo?: number;
}

/** A service with these pollers, and the queues that were asked for. */
function service(polled: readonly Polled[]): { client: Client; asked: string[] } {
  const asked: string[] = [];
  const describeTaskQueue = async (request: {
    taskQueue: { name: string };
    taskQueueType: number;
  }): Promise<unknown> => {
    const { name } = request.taskQueue;
    asked.push(name);
    expect(request.taskQueueType).toBe(2);
    const here = polled.filter(({ queue }) => queue === name);
    return {
      pollers: here.map(({ identity, secondsAgo = 5 }) => ({
        identity,
        lastAccessTime: { seconds: Math.floor(Date.now() / 1000) - secondsAgo, nanos: 0 },
      })),
    };
  };
  const client = { options: { namespace: 'n' }, workflowService: { describeTaskQueue } };
  return { client: client as unknown as Client, asked };
}

/** The queues that the worker of a host polls. */
const hostOf = (host: string, secondsAgo = 5, devices = ['cpu']): Polled[] =>
  ['pool.any', host, ...devices.map((device) => `${host}.${device}`)].map((name) => ({
    ...{ queue: `tileloom.${name}`, identity: `${host}/4711`, secondsAgo },
  }));

const wish = (aspect: PinWish['aspect'], value: string | number, allowAbsent = false): PinWish => ({
  ...{ aspect, value, allowAbsent, scope: { kind: 'run' }, ifImpossible: 'hold' },
  ...{ ttlMs: null, ttlChunks: null },
});

async function problemsOf(
  pins: readonly PinWish[],
  polled: readonly Polled[] = hostOf('alpha-1'),
): Promise<readonly string[]> {
  const request = { pins, current: [], mode: 'auto', precision: 'auto', work: WORK } as const;
  const { client } = service(polled);
  return (await checkPins({ client, registry: REGISTRY }, request)).problems;
}

describe('a host pin', () => {
  test('is fine while a worker polls the host', async () => {
    expect(await problemsOf([wish('host', 'alpha-1')])).toEqual([]);
  });

  test('on a host that is busy is fine: its own queue is always polled', async () => {
    const polled = hostOf('alpha-1').filter(({ queue }) => queue !== 'tileloom.pool.any');
    expect(await problemsOf([wish('host', 'alpha-1')], polled)).toEqual([]);
  });

  test('names the hosts there are, and the one that was meant', async () => {
    const polled = [...hostOf('alpha-1'), ...hostOf('beta')];
    expect(await problemsOf([wish('host', 'alpa-1')], polled)).toEqual([
      'pin host=alpa-1 cannot be set: expected a host that a worker serves (alpha-1, beta), got ' +
        'alpa-1, which none serves; did you mean alpha-1? Else allow it to be absent (--allow-absent)',
    ]);
  });

  test('is refused where the host was silent for long, and where there is none', async () => {
    expect(await problemsOf([wish('host', 'alpha-1')], hostOf('alpha-1', 75))).toEqual([]);
    for (const polled of [hostOf('alpha-1', 120), []]) {
      expect(await problemsOf([wish('host', 'alpha-1')], polled)).toEqual([
        expect.stringMatching(/expected a host that a worker serves, got no worker at all; start/u),
      ]);
    }
  });

  test('may be absent when that is wished', async () => {
    expect(await problemsOf([wish('host', 'alpha-9', true)], [])).toEqual([]);
    expect(await problemsOf([wish('host', 'Alpha 9', true)], [])).toHaveLength(1);
  });
});

describe('a device pin', () => {
  const GPU = 'GPU-5a1f0c9e-7d3b-4e0a-9a55-0c8f0a9d1d11';

  test('is fine where any live host serves the device', async () => {
    expect(await problemsOf([wish('device', 'cpu')])).toEqual([]);
    const polled = [...hostOf('alpha-1'), ...hostOf('beta', 5, ['cpu', GPU])];
    expect(await problemsOf([wish('device', GPU)], polled)).toEqual([]);
  });

  test('is refused where none does, or only a host that is gone', async () => {
    const refused = [expect.stringContaining('a device of a host that a worker serves (alpha-1)')];
    expect(await problemsOf([wish('device', GPU)])).toEqual(refused);
    const polled = [...hostOf('alpha-1'), ...hostOf('beta', 200, ['cpu', GPU])];
    expect(await problemsOf([wish('device', GPU)], polled)).toEqual(refused);
    expect(await problemsOf([wish('device', GPU, true)])).toEqual([]);
  });
});

describe('pins that cannot be', () => {
  test('are refused by the registry without asking for hosts', async () => {
    const { client, asked } = service([]);
    const answer = await checkPins(
      { client, registry: REGISTRY },
      {
        pins: [wish('host', 'nowhere'), wish('variant', 'assign/grid-sclar@1')],
        ...{ current: [makePin({ aspect: 'runtime', value: 'cpu' })], mode: 'auto' },
        ...{ precision: 'auto', work: WORK },
      },
    );
    expect(answer.problems).toEqual([
      expect.stringContaining('did you mean assign/grid-scalar@1?'),
    ]);
    expect(asked).toEqual([]);
  });

  test('are shown without characters that steer a terminal', async () => {
    const [problem = ''] = await problemsOf([wish('variant', 'assign/\u001b[2Jgrid\u202e@1')]);
    expect(problem).toContain('\\u{1b}[2Jgrid\\u{202e}@1');
  });

  test('are answered within 64 KiB, however many and long', async () => {
    const many = Array.from({ length: 32 }, (_, index) =>
      wish('host', `x${index}`.padEnd(63, 'y')),
    );
    const problems = await problemsOf(many, hostOf('h'.repeat(63)));
    expect(problems).toHaveLength(32);
    expect(JSON.stringify(problems).length).toBeLessThan(65_536);
  });
});
