// Owns what a GPU's own state says about using it: out of service, broken memory, throttled. Codes and
// reasons; nothing here judges a metric that could not be read.
import type { DeviceSnapshot, TelemetrySnapshot } from '../telemetry/index.ts';
import { reason, type RejectCode } from './reasons.ts';
import type { Reason } from './types.ts';

/** Devices out of service that a plan names, and characters of each text. */
const DEVICES_NAMED = 3;
const TEXT_MAX = 96;

/** The reject of a device out of service: its text starts with the code of the error behind it. */
export function outOfService(quarantine: string): RejectCode {
  const [code] = quarantine.split(/[^A-Z_]/u, 1);
  switch (code) {
    case 'IMAGE_UNUSABLE':
      return 'NO_IMAGE_FOR_DEVICE';
    case 'DEVICE_MISSING':
      return 'DRIVER_UNUSABLE';
    default:
      return 'DEVICE_QUARANTINED';
  }
}

/** Why a GPU in service must not be used now, or null. */
export function healthReject({ kind, gpu, throttled }: DeviceSnapshot): RejectCode | null {
  if (kind !== 'gpu') {
    return null;
  }
  if ((gpu?.eccErrors ?? 0) > 0) {
    return 'DEVICE_ECC_ERRORS';
  }
  return throttled === true ? 'DEVICE_THROTTLED' : null;
}

/** Names the GPUs out of service with their texts. */
export function citeOutOfService({ devices }: TelemetrySnapshot): readonly Reason[] {
  const broken = devices.filter(({ kind, quarantine }) => kind === 'gpu' && quarantine !== null);
  const named = broken
    .slice(0, DEVICES_NAMED)
    .map(({ deviceId: device, quarantine }) =>
      reason('DEVICE_OUT_OF_SERVICE', { device, why: shortened(quarantine ?? '') }),
    );
  const count = broken.length - named.length;
  return count > 0 ? [...named, reason('DEVICES_OUT_OF_SERVICE', { count })] : named;
}

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/gu, ' ').trim();
  const characters = Array.from(line);
  return characters.length <= TEXT_MAX ? line : `${characters.slice(0, TEXT_MAX - 1).join('')}…`;
}
