// Owns what `doctor` looks at for GPUs: driver, each device, its kernels' image, telemetry. A machine
// without a GPU is in order: the CPU does the work. One whose driver somebody named, or whose GPUs NVML
// lists, is not: a driver is expected there.
import { inspectGpu } from '../../executor/index.ts';
import { homePaths } from '../../server/index.ts';
import { createNvmlReader } from '../../telemetry/probes/index.ts';
import { NVML_READ_MS, takeSnapshot, type MachineSnapshot } from '../devices/snapshot.ts';
import { formatBytes } from '../format.ts';
import type { CommandIo } from '../io.ts';
import type { Finding } from './finding.ts';

const DEVICE_LIBRARY = 'run node scripts/build-native.mjs again';
const UNTIL_THEN = 'until then the CPU does the work';
/** Opening may compile the kernels, which takes a slow host longer than a driver may take to answer. */
const IMAGE_MS_MAX = 120_000;

/** What makes a driver expected on a host where none loads. */
export interface ExpectedDriver {
  /** What TILELOOM_CUDA_DRIVER says; null when it says nothing. */
  readonly named: string | null;
  /** Names of the GPUs that NVML lists. */
  readonly listed: readonly string[];
}

/** Every finding about GPUs, in the order in which it is shown. */
export async function checkGpus(io: CommandIo): Promise<readonly Finding[]> {
  const machine = await takeSnapshot(io);
  const gpus = machine.snapshot.devices.filter(({ kind }) => kind === 'gpu');
  const driver = machine.hasDriver
    ? checkDriver(machine)
    : checkNoDriver(machine, await expected());
  if (gpus.length === 0 || machine.gpuProblem !== null) return [driver];
  const images: Finding[] = [];
  for (const { ordinal, uuid } of machine.gpus) {
    images.push(await checkImage(io, ordinal, uuid));
  }
  return [driver, ...images, checkTelemetry(machine)];
}

function checkDriver(machine: MachineSnapshot): Finding {
  const { gpuProblem, driverVersion, snapshot } = machine;
  const check = 'GPU driver';
  if (gpuProblem === null) {
    const gpus = snapshot.devices.filter(({ kind }) => kind === 'gpu');
    const names = gpus.map(
      ({ name, memTotalBytes }) =>
        `${name ?? 'unknown'} (${memTotalBytes === null ? 'unknown' : formatBytes(memTotalBytes)})`,
    );
    const found = `CUDA ${driverVersion ?? 'unknown'}, ${String(gpus.length)} GPU(s): ${names.join(', ')}`;
    return { check, status: 'ok', found, fix: null };
  }
  const fix = gpuProblem.startsWith('LIBRARY_')
    ? DEVICE_LIBRARY
    : `look at nvidia-smi; install or restart the NVIDIA driver; ${UNTIL_THEN}`;
  return { check, status: 'warning', found: gpuProblem, fix };
}

/** No driver loads: in order, unless there is reason to expect one. */
export function checkNoDriver(
  { gpuProblem }: Pick<MachineSnapshot, 'gpuProblem'>,
  { named, listed }: ExpectedDriver,
): Finding {
  const check = 'GPU driver';
  const found = gpuProblem ?? 'none';
  if (named !== null) {
    const fix = `correct or unset TILELOOM_CUDA_DRIVER; ${UNTIL_THEN}`;
    return { check, status: 'warning', found, fix };
  }
  if (listed.length > 0) {
    const gpus = `NVML lists ${String(listed.length)} GPU(s): ${listed.join(', ')}`;
    const fix = `install libcuda.so.1 of the same driver, or name it with TILELOOM_CUDA_DRIVER; ${UNTIL_THEN}`;
    return { check, status: 'warning', found: `${found}; ${gpus}`, fix };
  }
  return { check, status: 'ok', found: 'none: the CPU does all the work', fix: null };
}

/** The driver is asked in a child that inherits this process's environment, not the command's. */
async function expected(): Promise<ExpectedDriver> {
  const named = process.env['TILELOOM_CUDA_DRIVER'] || null;
  if (named !== null) return { named, listed: [] };
  const nvml = createNvmlReader({ readMs: NVML_READ_MS });
  try {
    const reading = await nvml.read(null);
    const devices = reading.kind === 'read' ? reading.devices : [];
    return { named, listed: devices.map(({ name, uuid }) => name ?? uuid) };
  } finally {
    nvml.close();
  }
}

/** Opens the device once, as an executor would: only that shows whether an image runs there. */
async function checkImage(io: CommandIo, ordinal: number, deviceId: string): Promise<Finding> {
  const check = `GPU ${String(ordinal)} image`;
  const open = { ordinal, imagesDir: homePaths(io.env).images };
  const info = await inspectGpu(open, { timeoutMs: IMAGE_MS_MAX });
  if (typeof info === 'string') {
    const fix = info.startsWith('IMAGE_UNUSABLE')
      ? 'run npm run build:cuda, or install NVRTC (libnvrtc.so) so that the kernels are compiled here'
      : 'see the message; device snapshot shows who uses the device';
    return { check, status: 'warning', found: `${deviceId}: ${info}`, fix };
  }
  const { image, imageDigest, imageNote } = info;
  const found = `${deviceId}: ${image}, ${imageDigest.slice(0, 12)}`;
  return imageNote === null
    ? { check, status: 'ok', found, fix: null }
    : {
        ...{ check, status: 'ok', found: `${found}; the one built ahead of time: ${imageNote}` },
        fix: 'nothing is wrong; npm run build:cuda makes an image that needs no compiling',
      };
}

function checkTelemetry({ snapshot }: MachineSnapshot): Finding {
  const check = 'GPU telemetry';
  if (snapshot.backend === 'nvml') return { check, status: 'ok', found: 'NVML', fix: null };
  const found = snapshot.reason ?? 'unavailable';
  const isSlow = snapshot.devices.some(({ gpu }) =>
    ['starting', 'timeout'].includes(gpu?.unread?.['all'] ?? ''),
  );
  const fix = isSlow
    ? 'the library is there but slow: look at nvidia-smi, and turn persistence mode on (nvidia-smi -pm 1)'
    : 'install libnvidia-ml.so.1 of the driver';
  return {
    ...{ check, status: 'warning', found },
    fix: `${fix}; without readings plans go by declared figures`,
  };
}
