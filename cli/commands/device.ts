// Owns `tileloom device`: what a worker on this machine would tell the planner.
import type { Command } from 'commander';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { renderDevices, renderSnapshot } from '../devices/render.ts';
import { takeSnapshot } from '../devices/snapshot.ts';

/** Adds the group. */
export function addDeviceCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'device', 'See the devices of this machine.');
  addLeaf(group, context, {
    name: 'list',
    summary: 'List the devices a worker on this machine would offer, and which are out of service.',
    examples: ['tileloom device list'],
    run: async ({ io, output }) => {
      const { snapshot, gpuProblem } = await takeSnapshot(io);
      const { devices } = snapshot;
      const names = {
        schema: 'tileloom.cli.device-list/1',
        itemSchema: 'tileloom.cli.device-list-item/1',
        key: 'devices',
      };
      output.list(names, devices, () => renderDevices(devices, gpuProblem));
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'snapshot',
    summary: 'Take one telemetry snapshot, as the planner would see it.',
    examples: ['tileloom device snapshot', 'tileloom device snapshot -o json'],
    run: async ({ io, output }) => {
      const { snapshot, gpuProblem } = await takeSnapshot(io);
      output.document('tileloom.cli.device-snapshot/1', { snapshot, gpuProblem }, () =>
        renderSnapshot(snapshot, gpuProblem),
      );
      return undefined;
    },
  });
}
