// The planner counts with what an executor holds on a device (policy.memory.device). Nothing but this
// test keeps its numbers and those of the library and the worker together.
import { afterEach, expect, test } from 'vitest';
import { openDeviceLibrary, type OpenDevice } from '../../native/index.ts';
import { DEFAULT_POLICY_ID, policyById } from '../../planner/index.ts';
import { GPU_SLOTS } from '../../worker/devices.ts';
import { fakeGpus } from './helpers/fake-gpu.ts';

let cleanUp: (() => void)[] = [];

afterEach(() => {
  for (const step of cleanUp.toReversed()) step();
  cleanUp = [];
});

const MEMORY_BYTES = 8 * 2 ** 30;

function open(memoryBytes: number): OpenDevice {
  const gpus = fakeGpus({ devices: [{ memoryBytes }] });
  cleanUp.push(() => gpus.remove(), gpus.enter());
  const device = openDeviceLibrary().openDevice({ ordinal: 0 });
  cleanUp.push(() => device.close());
  return device;
}

test('a device is opened with the slots, arenas and share of memory that plans count with', () => {
  const wanted = policyById(DEFAULT_POLICY_ID).data.memory.device;
  const { slots, slotBytes, memoryBytesMax } = open(MEMORY_BYTES).info;
  expect({ slots, slotBytes, freeShare: memoryBytesMax / MEMORY_BYTES }).toEqual(wanted);
  expect(GPU_SLOTS).toBe(wanted?.slots);
});

test('where memory is scarce, arenas take half of that share, as plans count', () => {
  const wanted = policyById(DEFAULT_POLICY_ID).data.memory.device;
  const scarce = 256 * 2 ** 20;
  const each = Math.floor((scarce * (wanted?.freeShare ?? 0)) / 2 / (wanted?.slots ?? 1));
  const { slotBytes } = open(scarce).info;
  // The library rounds down to its alignment.
  expect(each - slotBytes).toBeGreaterThanOrEqual(0);
  expect(each - slotBytes).toBeLessThan(256);
});
