// Owns what tests of kernel images share: a fake NVRTC, the real one of the pinned wheels, the
// script that builds images, and opening device 0 here or in a process of its own.
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NativeError, openDeviceLibrary, type DeviceInfo } from '../../../native/index.ts';

export const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

const SCRIPT = join(ROOT, 'scripts', 'build-cuda.mjs');

/** What opening a device told or threw. */
export type Opened = Partial<DeviceInfo> & { readonly code?: string; readonly message?: string };

/** As native/cuda/image_cache.cpp has it: who waits for another's compilation for longer, compiles. */
export const LOCK_WAIT_MS = 10_000;

/** Opens device 0 in this process and closes it. */
export function openHere(cacheDir: string | null = null): Opened {
  try {
    const device = openDeviceLibrary().openDevice({ ordinal: 0, slots: 1, cacheDir });
    device.close();
    return device.info;
  } catch (error) {
    if (error instanceof NativeError) {
      return { code: error.code, message: error.message };
    }
    throw error;
  }
}

export interface OpenedElsewhere extends Opened {
  /** Milliseconds of opening, in which the start of the process does not count. */
  readonly openMs: number;
}

export interface OpeningChild {
  readonly pid: number;
  readonly opened: Promise<OpenedElsewhere>;
}

/** Opens device 0 in a new process of the built package. */
export function openElsewhere(cacheDir: string, environment: Record<string, string>): OpeningChild {
  const script = join(ROOT, 'tests', 'native', 'helpers', 'open-device.mjs');
  const child = spawn(process.execPath, [script, cacheDir], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  const opened = new Promise<OpenedElsewhere>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      const line = text.trimEnd().split('\n').at(-1) ?? '';
      if (line.startsWith('{')) {
        resolve(JSON.parse(line) as OpenedElsewhere);
      } else {
        reject(new Error(`process ended with ${String(status)} and without an answer`));
      }
    });
  });
  return { pid: child.pid ?? 0, opened };
}

export interface FakeNvrtc {
  readonly environment: Readonly<Record<string, string>>;
  /** Replaces the lines of its control file beside the log. */
  control(lines: readonly string[]): void;
  /** One line per compilation: process, files with their bytes, options. */
  compilations(): readonly string[];
}

/** A fake NVRTC whose files lie in the folder. */
export function fakeNvrtc(folder: string): FakeNvrtc {
  const controlPath = join(folder, 'nvrtc.txt');
  const log = join(folder, 'nvrtc-log.txt');
  const control = (lines: readonly string[]): void =>
    writeFileSync(controlPath, [`log ${log}`, ...lines, ''].join('\n'));
  control([]);
  return {
    environment: {
      TILELOOM_NVRTC: join(ROOT, 'native', 'build', 'libtileloom_fake_nvrtc.so'),
      TILELOOM_FAKE_NVRTC: controlPath,
    },
    control,
    compilations: () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []),
  };
}

export function buildCuda(words: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [SCRIPT, ...words], { encoding: 'utf8' });
}

export interface CudaTools {
  readonly nvcc: string;
  readonly nvrtc: string;
}

/**
 * The compilers that are at hand without fetching, or why there are none. With
 * TILELOOM_CUDA_TOOLS=required, as in CI, to have none is an error.
 */
export function cudaTools(): CudaTools | string {
  const { status, stdout, stderr } = buildCuda(['--locate', '--offline']);
  const tools =
    status === 0 ? (JSON.parse(stdout) as { nvcc: string; nvrtc: string | null }) : null;
  if (tools !== null && tools.nvrtc !== null) {
    return { nvcc: tools.nvcc, nvrtc: tools.nvrtc };
  }
  const reason = tools === null ? stderr.trim() : 'CUDA_TOOLS_MISSING: nvcc is there, NVRTC is not';
  if (process.env['TILELOOM_CUDA_TOOLS'] === 'required') {
    throw new Error(`npm run build:cuda must come first: ${reason}`);
  }
  return reason;
}

/** Names of the entries of a cache of images, without locks. */
export function entriesOf(cacheDir: string): readonly string[] {
  return existsSync(cacheDir)
    ? readdirSync(cacheDir).filter((name) => !name.endsWith('.lock'))
    : [];
}
