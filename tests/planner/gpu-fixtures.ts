// Owns hosts with GPUs for the planner's tests: devices, what was measured on them, plans on them.
import {
  emptyHistory,
  foldOutcome,
  shapeBucket,
  type DeviceSnapshot,
  type GpuMetrics,
  type HistoryDigest,
} from '../../telemetry/index.ts';
import { CPU, GPU, GPU_SNAPSHOT, WORK, makeInput, planned, type InputChanges } from './fixtures.ts';

export const CUDA = 'assign/cuda-grid-fp64@1';
export const AVX2 = 'assign/grid-avx2@1';
export const LAYER = 'c0ffee-half-open-first';
export const METRICS: GpuMetrics = {
  powerWatts: 100,
  clockEvents: [],
  eccErrors: 0,
  pcieGeneration: 5,
  resident: [],
};
export const IDLE: DeviceSnapshot = { ...GPU, slotsBusy: 0, slots: 2, gpu: METRICS };
export const SECOND: DeviceSnapshot = { ...IDLE, deviceId: 'GPU-2' };
export const WARM: DeviceSnapshot = { ...IDLE, gpu: { ...METRICS, resident: [LAYER] } };

export const LARGE = { rows: 200_000_000, remainingRows: 2_000_000_000, layer: LAYER };
export const RESERVED = { where: { reservedTiles: Math.ceil(LARGE.rows / WORK.tileRows) } };

export interface Speeds {
  readonly cpu?: number;
  readonly gpu?: number;
}

/** A history of full chunks, in which fixed costs hardly show. */
export function measured({ cpu, gpu }: Speeds, chunks = 3): HistoryDigest {
  let history = emptyHistory();
  for (const [variant, deviceClass, rate] of [
    [AVX2, CPU.deviceClass, cpu],
    [CUDA, GPU.deviceClass, gpu],
  ] as const) {
    for (let chunk = 0; rate !== undefined && chunk < chunks; chunk += 1) {
      const [seconds, predictedSeconds] = [4, 4];
      const outcome = { variant, deviceClass, shape: shapeBucket(WORK), rows: rate * seconds };
      history = foldOutcome(history, { ...outcome, seconds, predictedSeconds, failed: false });
    }
  }
  return history;
}

export function onHost(devices: readonly DeviceSnapshot[], changes: InputChanges = {}) {
  const { work, ...rest } = changes;
  return planned(
    makeInput({
      snapshot: { ...GPU_SNAPSHOT, devices },
      ...RESERVED,
      ...rest,
      work: { ...LARGE, ...work },
    }),
  );
}
