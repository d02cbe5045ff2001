// Owns how devices read on a terminal: what is known in figures, what is not with its reason. Drivers
// and variables are quoted in both, so text is escaped.
import { escapeControl } from '../../operator/index.ts';
import type { DeviceSnapshot, TelemetrySnapshot } from '../../telemetry/index.ts';
import { formatBytes, formatFacts, formatTable, formatTime } from '../format.ts';

/** One line a device; where there is no GPU, why. */
export function renderDevices(
  devices: readonly DeviceSnapshot[],
  gpuProblem: string | null,
): string {
  const table = formatTable(
    ['device', 'kind', 'class', 'name', 'memory', 'state'],
    devices.map((device) => [
      device.deviceId,
      device.kind,
      device.deviceClass,
      nameOf(device),
      device.memTotalBytes === null ? 'unknown' : formatBytes(device.memTotalBytes),
      stateOf(device),
    ]),
  );
  return gpuProblem === null ? table : `${table}\n\nno GPU: ${escapeControl(gpuProblem)}`;
}

/** The host, then a paragraph for each GPU. */
export function renderSnapshot(snapshot: TelemetrySnapshot, gpuProblem: string | null): string {
  const { memAvailableBytes, memLimitBytes, reason, backend, devices } = snapshot;
  const host = formatFacts([
    ['host', snapshot.host],
    ['taken', formatTime(snapshot.takenAt)],
    ['cores', String(snapshot.cores)],
    ['load', String(snapshot.load1 ?? 'unknown')],
    ['memory', `${bytes(memAvailableBytes)} available of ${bytes(memLimitBytes)}`],
    ['ISA', snapshot.isa.join(' ')],
    ['GPU telemetry', escapeControl(reason ?? backend)],
    ...(gpuProblem === null
      ? []
      : [['GPUs', `none: ${escapeControl(gpuProblem)}`] as [string, string]]),
    ...devices
      .filter(({ kind }) => kind === 'cpu')
      .map((device): [string, string] => [
        device.deviceId,
        `${nameOf(device)}, ${device.deviceClass}`,
      ]),
  ]);
  const gpus = devices.filter(({ kind }) => kind === 'gpu').map(renderGpu);
  return [host, ...gpus].join('\n\n');
}

function renderGpu(device: DeviceSnapshot): string {
  const { gpu } = device;
  const why = (metric: string): string => {
    const unread = gpu?.unread?.[metric] ?? gpu?.unread?.['all'];
    return unread === undefined ? 'unknown' : `unknown (${escapeControl(unread)})`;
  };
  const value = (metric: string, read: number | null | undefined, unit: string): string =>
    read === null || read === undefined ? why(metric) : `${String(read)}${unit}`;
  const events = gpu?.clockEvents;
  const memory =
    device.memFreeBytes === null || device.memTotalBytes === null
      ? `${bytes(device.memTotalBytes)}, free ${why('memFreeBytes')}`
      : `${bytes(device.memTotalBytes - device.memFreeBytes)} of ${bytes(device.memTotalBytes)} used`;
  return formatFacts([
    ['device', device.deviceId],
    ['name', `${nameOf(device)}, ${device.deviceClass}`],
    ['state', stateOf(device)],
    ['utilisation', value('utilizationPct', device.utilizationPct, ' %')],
    ['memory', memory],
    ['temperature', value('temperatureC', device.temperatureC, ' °C')],
    ['power', value('powerWatts', gpu?.powerWatts, ' W')],
    [
      'clock events',
      events === null || events === undefined
        ? why('clockEvents')
        : events.length === 0
          ? 'none'
          : events.join(', '),
    ],
    ['ECC errors', value('eccErrors', gpu?.eccErrors, ' uncorrected')],
    ['PCIe', value('pcieGeneration', gpu?.pcieGeneration, '. generation')],
    ['fp64 : fp32', device.fp64Ratio === null ? 'unknown' : String(device.fp64Ratio)],
    [
      'resident',
      gpu === undefined || gpu.resident.length === 0 ? 'no layer' : gpu.resident.join(', '),
    ],
  ]);
}

function nameOf({ name }: DeviceSnapshot): string {
  return escapeControl(name ?? 'unknown');
}

function stateOf({ quarantine }: DeviceSnapshot): string {
  return quarantine === null ? 'in service' : `out of service: ${escapeControl(quarantine)}`;
}

function bytes(value: number | null): string {
  return value === null ? 'unknown' : formatBytes(value);
}
