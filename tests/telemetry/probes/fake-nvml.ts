// Owns the use of the fake libnvidia-ml in tests: its control file, and libraries that lack functions.
// The lines are described in tests/native/fake_nvml/control.hpp.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, vi } from 'vitest';
import {
  createNvmlReader,
  type GpuDeviceState,
  type NvmlClientOptions,
  type NvmlReader,
} from '../../../telemetry/probes/index.ts';
import { ROOT } from '../../architecture/source-files.ts';

/** Built by `node scripts/build-native.mjs test-kernels`. */
export const FAKE_NVML = join(ROOT, 'native/build/libtileloom_fake_nvml.so');
const SOURCES = join(ROOT, 'tests/native/fake_nvml');

export interface FakeNvml {
  /** What a process needs to find the fake instead of a driver. */
  readonly environment: Readonly<Record<string, string>>;
  /** Replaces the control file; running processes see it at their next call. */
  readonly set: (lines: readonly string[]) => void;
}

/** A control file, removed after the test. */
export function fakeNvml(lines: readonly string[], library = FAKE_NVML): FakeNvml {
  const path = join(temporaryFolder(), 'nvml.control');
  const set = (next: readonly string[]): void => {
    writeFileSync(`${path}.next`, `${next.join('\n')}\n`);
    renameSync(`${path}.next`, path);
  };
  set(lines);
  return { environment: { TILELOOM_NVML: library, TILELOOM_FAKE_NVML: path }, set };
}

/** A reader over the fake, closed after the test. Its time limits suit a busy machine. */
export function readerOf(fake: FakeNvml, options: NvmlClientOptions = {}): NvmlReader {
  const environment = { ...process.env, ...fake.environment };
  const limits = { readMs: 20_000, startMs: 60_000, restartMs: 0 };
  const reader = createNvmlReader({ ...limits, environment, ...options });
  onTestFinished(() => reader.close());
  return reader;
}

/** Waits until readings succeed, so that what a test limits to `readMs` does not count the start. */
export async function untilRead(
  reader: NvmlReader,
  devices: Parameters<NvmlReader['read']>[0],
): Promise<void> {
  await vi.waitFor(
    async () => expect(await reader.read(devices)).toMatchObject({ kind: 'read' }),
    40_000,
  );
}

/** The fake as an older or newer driver has it: without some functions. */
export function fakeWithout(...functions: readonly string[]): string {
  const folder = temporaryFolder();
  const sources = readdirSync(SOURCES).filter((name) => name.endsWith('.cpp'));
  const exported = execFileSync('nm', ['-D', '--defined-only', FAKE_NVML], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(' ').at(-1) ?? '')
    .filter((name) => name.startsWith('nvml'));
  const unknown = functions.filter((name) => !exported.includes(name));
  if (unknown.length > 0) throw new Error(`the fake has no ${unknown.join(', ')}`);
  const kept = exported.filter((name) => !functions.includes(name));
  const map = join(folder, 'exports.map');
  writeFileSync(map, `{ global: ${kept.map((name) => `${name};`).join(' ')} local: *; };\n`);
  const library = join(folder, 'libnvidia-ml.so');
  execFileSync(process.env['CXX'] ?? 'g++', [
    ...['-std=c++17', '-fPIC', '-shared', `-Wl,--version-script=${map}`, '-o', library],
    ...sources.map((name) => join(SOURCES, name)),
  ]);
  return library;
}

export const GIB = 1024 ** 3;

/** Two H200; CUDA counts them the other way round. */
export const UUID_A = 'GPU-5a1f0c9e-7d3b-4e0a-9a55-0c8f0a9d1d1a';
export const UUID_B = 'GPU-0b7b6a39-3b4c-4b0e-8a77-4a3f7d5c9e0b';

export function gpuState(changes: Partial<GpuDeviceState> = {}): GpuDeviceState {
  return {
    uuid: UUID_A,
    pciBusId: '0000:3b:00.0',
    name: 'NVIDIA H200',
    deviceClass: 'gpu-sm90',
    memTotalBytes: 139 * GIB,
    fp64Ratio: 0.5,
    slotsBusy: 0,
    slots: 2,
    quarantine: null,
    resident: [],
    ...changes,
  };
}

/** Lines of one GPU that tells everything. */
export function gpuLines(
  uuid: string,
  changes: Readonly<Record<string, string | null>> = {},
): readonly string[] {
  const readings: Record<string, string | null> = {
    utilization: '63 99',
    memory: `${140 * GIB} ${GIB} ${100 * GIB} ${39 * GIB}`,
    temperature: '45',
    power: '412499',
    clocks: '0x4',
    ecc: '0',
    pcie: '5',
    capability: '9 0',
    mig: '0',
    ...changes,
  };
  return [
    `device ${uuid} ${uuid === UUID_A ? '00000000:3B:00.0' : '00000000:AF:00.0'} NVIDIA H200`,
    ...Object.entries(readings)
      .filter(([, value]) => value !== null)
      .map(([metric, value]) => `reading ${uuid} ${metric} ${String(value)}`),
  ];
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tileloom-nvml-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
