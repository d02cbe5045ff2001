// A simulated workload: hidden true speeds of a CPU and a GPU, and lanes that learn them as a run does.
// It shows what the planner makes of evidence; it says nothing about any real device.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Plan, PlanSummary, WorkloadProfile } from '../../planner/index.ts';
import {
  emptyHistory,
  foldOutcome,
  shapeBucket,
  type DeviceSnapshot,
  type HistoryDigest,
} from '../../telemetry/index.ts';
import { CPU, GIB, GPU, GPU_SNAPSHOT, WORK, codesOf, makeInput, planned } from './fixtures.ts';

const LAYER = 'simulated';
const TILE_ROWS = WORK.tileRows;

/** Seconds of rows on a device in truth; what a first chunk pays on top; the upload of the index. */
interface Truth {
  readonly rowsPerSecond: number;
  readonly fixedSeconds: number;
  readonly warmUpSeconds: number;
  readonly uploadBytesPerSecond: number;
}

interface World {
  readonly cpu: Truth;
  readonly gpu: Truth;
  readonly work: Partial<WorkloadProfile>;
  /** Relative error of the n-th measurement. */
  readonly noise?: (chunk: number) => number;
}

interface State {
  history: HistoryDigest;
  previous: PlanSummary | null;
  isResident: boolean;
  chunks: number;
}

const fresh = (): State => ({
  history: emptyHistory(),
  previous: null,
  isResident: false,
  chunks: 0,
});

function devicesOf({ isResident }: State): readonly DeviceSnapshot[] {
  const metrics = { powerWatts: null, clockEvents: [], eccErrors: 0, pcieGeneration: 5 };
  const resident = isResident ? [LAYER] : [];
  return [
    { ...CPU, slotsBusy: 0 },
    { ...GPU, slotsBusy: 0, slots: 2, gpu: { ...metrics, resident } },
  ];
}

function planFor(world: World, state: State, rows: number, remainingRows = rows): Plan {
  const snapshot = { ...GPU_SNAPSHOT, cores: 8, devices: devicesOf(state) };
  return planned(
    makeInput({
      snapshot,
      history: state.history,
      previous: state.previous,
      limits: { memoryBytesMax: 16 * GIB },
      where: { reservedTiles: Math.ceil(rows / TILE_ROWS) },
      work: { ...WORK, ...world.work, rows, remainingRows, layer: LAYER, chunkIndex: state.chunks },
    }),
  );
}

function trueSeconds(world: World, state: State, runtime: 'cpu' | 'gpu', rows: number): number {
  const truth = world[runtime];
  const indexBytes = world.work.indexBytes ?? WORK.indexBytes;
  const upload =
    runtime === 'gpu' && !state.isResident ? indexBytes / truth.uploadBytesPerSecond : 0;
  return rows / truth.rowsPerSecond + truth.fixedSeconds + upload;
}

/** Runs chunks as one lane does, a reservation of what the last plan hinted at. */
function runChunks(world: World, count: number, totalRows = 1e12): { plans: Plan[]; state: State } {
  const state = fresh();
  const plans: Plan[] = [];
  const warmed = new Set<string>();
  for (let chunk = 0; chunk < count; chunk += 1) {
    const tiles = Math.max(4, Math.floor((state.previous?.chunkRowsHint ?? 0) / TILE_ROWS));
    const plan = planFor(world, state, tiles * TILE_ROWS, totalRows);
    const { runtime } = plan;
    const rows = plan.chunkTiles * TILE_ROWS;
    const warmUp = warmed.has(runtime) ? 0 : world[runtime].warmUpSeconds;
    const exact = trueSeconds(world, state, runtime, rows) + warmUp;
    const seconds = exact * (1 + (world.noise?.(chunk) ?? 0));
    state.history = foldOutcome(state.history, {
      variant: plan.variant,
      deviceClass: runtime === 'cpu' ? CPU.deviceClass : GPU.deviceClass,
      shape: shapeBucket({ ...WORK, ...world.work }),
      ...{ rows, seconds, predictedSeconds: plan.predicted.seconds, failed: false },
    });
    state.previous = {
      ...{ planId: plan.planId, variant: plan.variant, runtime, deviceId: plan.deviceId },
      ...{ chunkTiles: plan.chunkTiles, chunkRowsHint: plan.chunkRowsHint },
      ...{ predictedSeconds: plan.predicted.seconds, actualSeconds: seconds },
    };
    if (runtime === 'gpu') state.isResident = true;
    warmed.add(runtime);
    state.chunks += 1;
    plans.push(plan);
  }
  return { plans, state };
}

const truth = (rowsPerSecond: number, fixedSeconds: number, warmUpSeconds = 0): Truth => ({
  ...{ rowsPerSecond, fixedSeconds, warmUpSeconds },
  uploadBytesPerSecond: 20e9,
});

// What is true of the imagined host: 8 cores, and a GPU behind a link that moves 24 bytes a row.
const EASY = { vertices: 190_000, meanVertices: 59, indexBytes: 38_100_000 };
const HARD = { vertices: 8_150_000, meanVertices: 9, indexBytes: 1_500_000_000 };
const WORLDS: readonly (readonly [string, World])[] = [
  ['easy, ordered', world(EASY, true, 950e6, 780e6)],
  ['easy, random', world(EASY, false, 610e6, 740e6)],
  ['hard, ordered', world(HARD, true, 260e6, 760e6)],
  ['hard, random', world(HARD, false, 95e6, 520e6)],
];

function world(layer: Partial<WorkloadProfile>, ordered: boolean, cpu: number, gpu: number): World {
  return {
    work: { ...layer, ordered },
    cpu: truth(cpu, 0.0015, 0.003),
    gpu: truth(gpu, 0.006, 0.08),
  };
}

describe('a simulated host with a CPU and a GPU', () => {
  const shapes = WORLDS.flatMap(([name, given]) =>
    [false, true].flatMap((isResident) =>
      [1e5, 1e6, 1e7, 1e8].map((rows) => ({ name, given, isResident, rows })),
    ),
  );

  test('has 32 shapes of workload, and neither device is the better one in all', () => {
    const better = shapes.map(({ given, isResident, rows }) => {
      const state = { ...fresh(), isResident };
      const [cpu, gpu] = (['cpu', 'gpu'] as const).map((runtime) =>
        trueSeconds(given, state, runtime, rows),
      );
      return (cpu ?? 0) <= (gpu ?? 0) ? 'cpu' : 'gpu';
    });
    expect(shapes.length).toBe(32);
    expect(better.filter((each) => each === 'cpu').length).toBeGreaterThan(8);
    expect(better.filter((each) => each === 'gpu').length).toBeGreaterThan(8);
  });

  test.each(shapes)(
    'after the probes the choice is within 5 % of the better device: $name, resident $isResident, $rows rows',
    ({ given, isResident, rows }) => {
      const learned = runChunks(given, 12).state;
      const state: State = { ...learned, isResident, previous: null };
      const { runtime } = planFor(given, state, rows);
      const best = Math.min(
        trueSeconds(given, state, 'cpu', rows),
        trueSeconds(given, state, 'gpu', rows),
      );
      expect(trueSeconds(given, state, runtime, rows) / best).toBeLessThanOrEqual(1.05);
    },
  );

  test.each(WORLDS)(
    'probes each device, again only what its reservation cut short: %s',
    (_, given) => {
      const { plans } = runChunks(given, 40);
      const probes = plans.filter((plan) => codesOf(plan).includes('CHUNK_PROBE'));
      const onGpu = probes.filter(({ runtime }) => runtime === 'gpu');
      expect(onGpu.map(({ chunkTiles }) => chunkTiles)).toEqual([64]);
      // The first reservation of a lane has four tiles.
      const onCpu = probes.filter(({ runtime }) => runtime === 'cpu');
      expect(onCpu.filter(({ chunkTiles }) => chunkTiles === 4)).toHaveLength(1);
      expect(onCpu.filter(({ chunkTiles }) => chunkTiles > 4).length).toBeLessThanOrEqual(1);
      // What lost after its probe does not come back.
      const settled = new Set(plans.slice(10).map(({ runtime }) => runtime));
      expect(settled.size).toBe(1);
    },
  );
});

describe('noise of a tenth', () => {
  const noise = (seed: number) => {
    const values = fc.sample(fc.double({ min: -0.1, max: 0.1, noNaN: true }), {
      seed,
      numRuns: 200,
    });
    return (chunk: number): number => values[chunk % values.length] ?? 0;
  };

  const flips = (plans: readonly Plan[]): number =>
    plans.filter(({ deviceId }, at) => at > 0 && plans[at - 1]?.deviceId !== deviceId).length;

  test('gives a device that is a quarter slower no more than chunks that measure it', () => {
    const rates = fc.record({
      slow: fc.integer({ min: 50_000_000, max: 500_000_000 }),
      times: fc.double({ min: 1.25, max: 4, noNaN: true }),
      isGpuFaster: fc.boolean(),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(rates, ({ slow, times, isGpuFaster, seed }) => {
        const fast = slow * times;
        const given: World = {
          work: EASY,
          cpu: truth(isGpuFaster ? slow : fast, 0.0015),
          gpu: truth(isGpuFaster ? fast : slow, 0.005),
          noise: noise(seed),
        };
        const { plans } = runChunks(given, 60);
        const slower = isGpuFaster ? 'cpu' : 'gpu';
        const late = plans.slice(10).filter(({ runtime }) => runtime === slower);
        // Chunks too short to tell leave a GPU at its declared rate; in 2 worlds of 1,000 it wins once
        // more by that, at most two chunks in a row, and they correct it.
        expect(late.length).toBeLessThanOrEqual(3);
      }),
      { numRuns: 25, endOnFailure: true },
    );
  });

  test('seldom moves work between devices that are equally fast', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const given: World = {
        work: EASY,
        cpu: truth(400e6, 0.0015),
        gpu: truth(400e6, 0.005),
        noise: noise(seed),
      };
      expect(flips(runChunks(given, 200).plans.slice(10))).toBeLessThanOrEqual(4);
    }
  });
});
