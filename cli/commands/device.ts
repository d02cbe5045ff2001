// Owns `tileloom device`: what a worker on this machine would tell the planner.
import { hostname } from 'node:os';
import type { Command } from 'commander';
import { createHostProbe } from '../../telemetry/probes/index.ts';
import type { TelemetrySnapshot } from '../../telemetry/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { formatBytes, formatFacts, formatTable, formatTime } from '../format.ts';

/** Adds the group. */
export function addDeviceCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'device', 'See the devices of this machine.');
  addLeaf(group, context, {
    name: 'list',
    summary: 'List the devices a worker on this machine would offer.',
    examples: ['tileloom device list'],
    run: async ({ output }) => {
      const { devices } = await takeSnapshot();
      const names = {
        schema: 'tileloom.cli.device-list/1',
        itemSchema: 'tileloom.cli.device-list-item/1',
        key: 'devices',
      };
      output.list(names, devices, () =>
        formatTable(
          ['device', 'kind', 'class', 'name', 'memory', 'state'],
          devices.map((device) => [
            device.deviceId,
            device.kind,
            device.deviceClass,
            device.name ?? 'unknown',
            device.memTotalBytes === null ? 'unknown' : formatBytes(device.memTotalBytes),
            device.quarantine ?? 'in service',
          ]),
        ),
      );
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'snapshot',
    summary: 'Take one telemetry snapshot, as the planner would see it.',
    examples: ['tileloom device snapshot -o json'],
    run: async ({ output }) => {
      const snapshot = await takeSnapshot();
      output.document('tileloom.cli.device-snapshot/1', { snapshot }, () =>
        renderSnapshot(snapshot),
      );
      return undefined;
    },
  });
}

/** One snapshot of this machine. */
export async function takeSnapshot(coresMax?: number): Promise<TelemetrySnapshot> {
  return createHostProbe({
    host: hostname(),
    ...(coresMax === undefined ? {} : { coresMax }),
  }).read();
}

function renderSnapshot(snapshot: TelemetrySnapshot): string {
  const bytes = (value: number | null): string => (value === null ? 'unknown' : formatBytes(value));
  return formatFacts([
    ['host', snapshot.host],
    ['taken', formatTime(snapshot.takenAt)],
    ['cores', String(snapshot.cores)],
    ['load', String(snapshot.load1 ?? 'unknown')],
    [
      'memory',
      `${bytes(snapshot.memAvailableBytes)} available of ${bytes(snapshot.memLimitBytes)}`,
    ],
    ['ISA', snapshot.isa.join(' ')],
    ['GPU telemetry', snapshot.reason ?? snapshot.backend],
    ...snapshot.devices.map((device): [string, string] => [
      device.deviceId,
      `${device.name ?? 'unknown'}, ${device.deviceClass}`,
    ]),
  ]);
}
