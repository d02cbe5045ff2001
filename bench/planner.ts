// Measures plan(): time per call, median and 99th percentile, over seeded plan inputs. Writes
// bench/record/<machine>/<date>-planner.json. Run: node bench/run.mjs planner
import { performance } from 'node:perf_hooks';
import { POLICIES, plan, type Policy } from '../planner/index.ts';
import { REGISTRY } from '../registry/index.ts';
import { writeRecord } from './record.ts';
import { foldOutcome, emptyHistory, shapeBucket } from '../telemetry/index.ts';
import {
  CPU,
  GPU,
  GPU_SNAPSHOT,
  SNAPSHOT,
  WORK,
  makeInput,
  makePin,
} from '../tests/planner/fixtures.ts';

const WARM_UP = 3_000;
const CALLS = 20_000;

const history = foldOutcome(emptyHistory(), {
  variant: 'assign/grid-avx2@1',
  deviceClass: 'cpu-avx2',
  shape: shapeBucket(WORK),
  rows: 1e8,
  seconds: 2,
  predictedSeconds: 2,
  failed: false,
});

const onGpu = foldOutcome(history, {
  variant: 'assign/cuda-grid-fp64@1',
  deviceClass: GPU.deviceClass,
  shape: shapeBucket(WORK),
  rows: 1e9,
  seconds: 2,
  predictedSeconds: 2,
  failed: false,
});
const gpus = [1, 2, 3, 4].map((number) => ({ ...GPU, deviceId: `GPU-${String(number)}` }));

const CASES = {
  'cpu host, first chunk': {},
  'cpu host, later chunk': { history, work: { chunkIndex: 9 } },
  'gpu host': { snapshot: GPU_SNAPSHOT },
  'four gpus, later chunk': {
    history: onGpu,
    snapshot: { ...GPU_SNAPSHOT, devices: [CPU, ...gpus] },
    work: { chunkIndex: 9 },
  },
  'refused pin': {
    snapshot: SNAPSHOT,
    pins: { winners: [makePin({ aspect: 'runtime', value: 'gpu' })], losers: [] },
  },
} as const;

interface Timing {
  readonly policy: string;
  readonly case: string;
  readonly medianMs: number;
  readonly p99Ms: number;
}

function measure(name: string, policy: Policy): Timing {
  const changes = CASES[name as keyof typeof CASES];
  const inputs = Array.from({ length: 64 }, (_, chunk) =>
    makeInput({ ...changes, policyId: policy.id, where: { chunk, firstTile: chunk * 16 } }),
  );
  const times = new Float64Array(CALLS);
  for (let call = -WARM_UP; call < CALLS; call += 1) {
    const input = inputs[(call + WARM_UP) % inputs.length];
    if (input === undefined) {
      continue;
    }
    const start = performance.now();
    plan(input, policy, REGISTRY);
    if (call >= 0) {
      times[call] = performance.now() - start;
    }
  }
  times.sort();
  const at = (share: number): number => Number((times[Math.floor(CALLS * share)] ?? 0).toFixed(4));
  const timing = { policy: policy.id, case: name, medianMs: at(0.5), p99Ms: at(0.99) };
  console.log(`${policy.id}  ${name.padEnd(22)}  median ${at(0.5)} ms  p99 ${at(0.99)} ms`);
  return timing;
}

const timings = POLICIES.flatMap((policy) =>
  Object.keys(CASES).map((name) => measure(name, policy)),
);
console.log(writeRecord('planner', { calls: CALLS, timings }));
