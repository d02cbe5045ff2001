import { describe, expect, test } from 'vitest';
import {
  CPU,
  GIB,
  GPU_SNAPSHOT,
  WORK,
  codesOf,
  makeInput,
  planned,
  refused,
  rejectsOf,
} from './fixtures.ts';
import { CUDA, IDLE, LARGE, METRICS, RESERVED, WARM, measured, onHost } from './gpu-fixtures.ts';

describe('memory of a GPU', () => {
  const history = measured({ gpu: 900e6 }, 30);

  test('the size of a chunk costs none beside the index and three arenas', () => {
    const plan = onHost([WARM], { history });
    expect(plan.chunkTiles * WORK.tileRows).toBeGreaterThan(100_000_000);
    expect(plan.predicted.peakBytes).toBe(WORK.indexBytes + 3 * 256 * 2 ** 20);
  });

  test('pinned mirrors count against the limit of the run', () => {
    const limits = (bytes: number) => ({ limits: { memoryBytesMax: bytes }, history });
    const least = 3 * 256 * 2 ** 20 + WORK.indexBytes;
    expect(onHost([IDLE], limits(least)).runtime).toBe('gpu');
    const snapshot = { ...GPU_SNAPSHOT, devices: [IDLE] };
    const refusal = refused(
      makeInput({ snapshot, ...RESERVED, work: LARGE, ...limits(least - 1) }),
    );
    expect(rejectsOf(refusal)[CUDA]).toBe('MEMORY_EXCEEDED');
    expect(refusal.reasons).toContainEqual({ code: 'RELEASE_BY_MEMORY', params: { bytes: least } });
  });

  test('arenas shrink where the device is nearly full, until a tile has no room', () => {
    const peakWith = (memFreeBytes: number) =>
      onHost([{ ...IDLE, memFreeBytes }], { history }).predicted.peakBytes;
    expect(peakWith(GIB)).toBe(WORK.indexBytes + 3 * Math.floor((GIB * 0.875) / 6));
    const none = { ...IDLE, memFreeBytes: 0.3 * GIB };
    const snapshot = { ...GPU_SNAPSHOT, devices: [none] };
    const refusal = refused(makeInput({ snapshot, ...RESERVED, work: LARGE, history }));
    expect(rejectsOf(refusal)[CUDA]).toBe('DEVICE_MEMORY_EXHAUSTED');
    expect(codesOf(refusal)).toContain('RELEASE_BY_RECOVERY');
  });

  test('what the executor was told to take bounds arenas and index, whatever is free', () => {
    const told = (memoryBytesMax: number, base = IDLE) => ({
      ...base,
      gpu: { ...METRICS, ...base.gpu, memoryBytesMax },
    });
    const least = 2 * WORK.indexBytes;
    for (const base of [IDLE, WARM, { ...IDLE, memTotalBytes: null, memFreeBytes: null }]) {
      const plan = onHost([told(GIB, base)], { history });
      expect(plan.predicted.peakBytes).toBe(WORK.indexBytes + 3 * Math.floor(GIB / 6));
      const tight = onHost([CPU, told(least - 12, base)], { history });
      expect(rejectsOf(tight)[CUDA]).toBe('MEMORY_EXCEEDED');
    }
  });

  test('a refusal says how much the executor must be told to take, and that much is enough', () => {
    for (const { indexBytes, tileRows } of [
      WORK,
      { indexBytes: 2e9, tileRows: 65_536 },
      { indexBytes: 1_000, tileRows: 1_000_000 },
    ]) {
      const gpuOf = (memoryBytesMax: number) => [{ ...IDLE, gpu: { ...METRICS, memoryBytesMax } }];
      const work = { ...LARGE, indexBytes, tileRows };
      const limits = { memoryBytesMax: 64 * GIB };
      const snapshot = { ...GPU_SNAPSHOT, devices: gpuOf(1_000_000) };
      const requested = { mode: 'gpu', precision: 'auto' } as const;
      const refusal = refused(makeInput({ snapshot, ...RESERVED, work, limits, requested }));
      const found = refusal.reasons.find(({ code }) => code === 'RELEASE_BY_GPU_MEMORY');
      const bytes = Number(found?.params?.['bytes']);
      const planWith = (told: number) =>
        makeInput({
          ...{ ...RESERVED, work, limits, requested },
          snapshot: { ...GPU_SNAPSHOT, devices: gpuOf(told) },
        });
      expect(planned(planWith(bytes + 12)).variant).toBe(CUDA);
      expect(rejectsOf(refused(planWith(bytes - 12)))[CUDA]).toBe('MEMORY_EXCEEDED');
    }
  });

  test('what the executor holds already needs no free memory', () => {
    expect(onHost([{ ...WARM, memFreeBytes: 0 }], { history }).runtime).toBe('gpu');
  });

  test('a tile that is larger than an arena is refused', () => {
    const work = { tileRows: 8_000_000 };
    const plan = onHost([CPU, WARM], { history, work });
    expect(rejectsOf(plan)[CUDA]).toBe('MEMORY_EXCEEDED');
  });

  test('after running out of memory chunks are smaller', () => {
    const plan = onHost([WARM], { history, limits: { chunkRowsMax: 1_000_000 } });
    expect(plan.chunkTiles).toBe(15);
    expect(codesOf(plan)).toContain('CHUNK_AFTER_OOM');
  });
});
