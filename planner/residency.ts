// Owns residency: whether a layer's index lies on a device already.
import type { DeviceSnapshot, TelemetrySnapshot } from '../telemetry/index.ts';
import type { WorkloadProfile } from './types.ts';

/** Whether a device holds the index of the work's layer; a work without a key says it itself. */
export function holdsLayer(
  { kind, gpu }: DeviceSnapshot,
  { layer, residency }: Pick<WorkloadProfile, 'layer' | 'residency'>,
): boolean {
  if (kind !== 'gpu') {
    return true;
  }
  return layer === undefined ? residency === 'device' : gpu?.resident.includes(layer) === true;
}

/** Whether a GPU in service holds the index. */
export function isResidentHere(
  { devices }: Pick<TelemetrySnapshot, 'devices'>,
  { layer }: Pick<WorkloadProfile, 'layer'>,
): boolean {
  return (
    layer !== undefined &&
    devices.some(
      ({ kind, quarantine, gpu }) =>
        kind === 'gpu' && quarantine === null && gpu?.resident.includes(layer) === true,
    )
  );
}
