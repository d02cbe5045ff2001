// Owns how devices read on a terminal: what is known in figures, what is not with its reason.
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
      device.name ?? 'unknown',
      device.memTotalBytes === null ? 'unknown' : formatBytes(device.memTotalBytes),
      device.quarantine === null ? 'in service' : `out of service: ${device.quarantine}`,
    ]),
  );
  return gpuProblem === null ? table : `${table}\n\nno GPU: ${gpuProblem}`;
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
    ['GPU telemetry', reason ?? backend],
    ...(gpuProblem === null ? [] : [['GPUs', `none: ${gpuProblem}`] as [string, string]]),
    ...devices
      .filter(({ kind }) => kind === 'cpu')
      .map((device): [string, string] => [
        device.deviceId,
        `${device.name ?? 'unknown'}, ${device.deviceClass}`,
      ]),
  ]);
  const gpus = devices.filter(({ kind }) => kind === 'gpu').map(renderGpu);
  return [host, ...gpus].join('\n\n');
}

function renderGpu(device: DeviceSnapshot): string {
  const { gpu } = device;
  const why = (metric: string): string => {
    const unread = gpu?.unread?.[metric] ?? gpu?.unread?.['all'];
    return unread === undefined ? 'unknown' : `unknown (${unread})`;
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
    ['name', `${device.name ?? 'unknown'}, ${device.deviceClass}`],
    ['state', device.quarantine === null ? 'in service' : `out of service: ${device.quarantine}`],
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

function bytes(value: number | null): string {
  return value === null ? 'unknown' : formatBytes(value);
}
