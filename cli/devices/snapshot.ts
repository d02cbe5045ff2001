// Owns the snapshot of this machine that commands show: what a worker here would tell the planner, with
// what the workers that run here know of their GPUs.
import { hostname } from 'node:os';
import { discoverGpus, LANES_PER_DEVICE, type DiscoveredGpus } from '../../executor/index.ts';
import { homePaths, readDeviceStates, type ReportedDevice } from '../../server/index.ts';
import { gpuClassOf, type TelemetrySnapshot } from '../../telemetry/index.ts';
import { createHostProbe, type GpuDeviceState } from '../../telemetry/probes/index.ts';
import type { CommandIo } from '../io.ts';

/** Nobody's plan waits here: a driver without persistence takes seconds to wake up. */
export const NVML_READ_MS = 10_000;

export interface MachineSnapshot {
  readonly snapshot: TelemetrySnapshot;
  /** What the driver lists, each with the number by which it is opened. */
  readonly gpus: DiscoveredGpus['gpus'];
  /** Why CUDA offers no GPU, beginning with a code; null when it offers one. */
  readonly gpuProblem: string | null;
  readonly driverVersion: string | null;
  readonly hasDriver: boolean;
}

/** Takes one snapshot of this machine; asks the driver in a process of its own. */
export async function takeSnapshot(io: CommandIo, coresMax?: number): Promise<MachineSnapshot> {
  const { gpus, problem, driverVersion, hasDriver } = await discoverGpus();
  const reported = readDeviceStates(homePaths(io.env).hosts);
  const states = gpus.map((gpu) => stateOf(gpu, reported));
  const probe = createHostProbe({
    host: hostname(),
    ...(coresMax === undefined ? {} : { coresMax }),
    gpus: () => states,
    gpuProblem: hasDriver ? problem : null,
    nvmlReadMs: NVML_READ_MS,
  });
  try {
    const snapshot = await probe.read();
    return { snapshot, gpus, gpuProblem: problem, driverVersion, hasDriver };
  } finally {
    probe.close();
  }
}

function stateOf(
  { uuid, pciBusId, name, memTotalBytes, fp64Ratio, capability }: DiscoveredGpus['gpus'][number],
  reported: readonly ReportedDevice[],
): GpuDeviceState {
  const here = reported.filter(({ deviceId }) => deviceId === uuid);
  return {
    ...{ uuid, pciBusId, name, memTotalBytes, fp64Ratio },
    deviceClass: gpuClassOf(capability),
    slotsBusy: null,
    slots: LANES_PER_DEVICE,
    quarantine: here.find(({ quarantine }) => quarantine !== null)?.quarantine ?? null,
    resident: [...new Set(here.flatMap(({ resident }) => resident))],
  };
}
