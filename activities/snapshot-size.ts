// Owns how much of a snapshot goes into a plan and its record: a host with eight GPUs must not push the
// answer beyond its bound. What is left out was not seen by the planner either.
//
// I1 the same snapshot and call give the same result
// I2 devices that the call names stay; then those in service, the least busy first
import type { DeviceSnapshot, TelemetrySnapshot } from '../telemetry/index.ts';
import type { PlanCall } from '../workflows/activity-contract.ts';

/** Beside the decision and its frame, an answer has 3.5 KiB (docs/decisions/0009). */
const BYTES_MAX = 1_600;
const GPUS_MIN = 1;

/** The snapshot, without reasons for unread metrics and without spare GPUs where it is too large. */
export function fittingSnapshot(
  snapshot: TelemetrySnapshot,
  request: PlanCall['request'],
): TelemetrySnapshot {
  let fitting = snapshot;
  if (isTooLarge(fitting)) fitting = { ...fitting, devices: fitting.devices.map(withoutReasons) };
  const others = fitting.devices.filter(({ kind }) => kind !== 'gpu');
  const gpus = fitting.devices.filter(({ kind }) => kind === 'gpu');
  const kept = gpus.toSorted((one, other) => rank(one, request) - rank(other, request));
  while (kept.length > GPUS_MIN && isTooLarge(fitting)) {
    kept.pop();
    const stays = new Set(kept);
    fitting = { ...fitting, devices: [...others, ...gpus.filter((gpu) => stays.has(gpu))] };
  }
  return fitting;
}

function isTooLarge(snapshot: TelemetrySnapshot): boolean {
  return Buffer.byteLength(JSON.stringify(snapshot)) > BYTES_MAX;
}

function withoutReasons(device: DeviceSnapshot): DeviceSnapshot {
  if (device.gpu?.unread === undefined) return device;
  const { unread: _, ...gpu } = device.gpu;
  return { ...device, gpu };
}

/** Lower is more likely to be chosen. */
function rank(device: DeviceSnapshot, { pins, previous, excluded }: PlanCall['request']): number {
  const { deviceId, quarantine, slotsBusy } = device;
  if (pins.some(({ aspect, value }) => aspect === 'device' && value === deviceId)) return -2;
  if (previous?.deviceId === deviceId && quarantine === null) return -1;
  const isExcluded = excluded.some((one) => one.deviceId === deviceId);
  return (quarantine === null ? 0 : 2_000) + (isExcluded ? 1_000 : 0) + (slotsBusy ?? 500);
}
