export { MACHINE, type ProbeEnvironment } from './environment.ts';
export {
  createHostProbe,
  type CpuDeviceState,
  type GpuDeviceState,
  type HostProbe,
  type HostProbeOptions,
} from './host-probe.ts';
