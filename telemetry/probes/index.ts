export { MACHINE, type ProbeEnvironment } from './environment.ts';
export type { GpuDeviceState } from './gpu-devices.ts';
export {
  createHostProbe,
  type CpuDeviceState,
  type HostProbe,
  type HostProbeOptions,
} from './host-probe.ts';
export { createNvmlReader, type NvmlClientOptions, type NvmlReader } from './nvml-client.ts';
export type {
  NvmlDevice,
  NvmlDeviceReading,
  NvmlFailureCode,
  NvmlReading,
} from './nvml-messages.ts';
