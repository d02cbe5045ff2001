// Owns GPU records: DIR/<machine>/<date>-gpu.json, where the machine is its GPU.
// I1 what a fake driver made is never written: not by the bench, and not by this function either.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DeviceInfo } from '../../native/index.ts';
import type { BenchCase } from './bench-case.ts';
import { fakeReason, Refused } from './device.ts';
import type { HostFacts } from './info.ts';
import type { BusyClocks } from './kernel-cases.ts';
import type { Clocks, DriverRelease } from './nvidia-smi.ts';
import type { PlannerTable } from './planner-choice.ts';

export interface GpuRecord {
  readonly schema: 'tileloom.bench-gpu/1';
  readonly date: string;
  readonly commit: string;
  readonly host: HostFacts;
  readonly device: DeviceInfo;
  readonly driver: DriverRelease;
  /** SHA-256 of the two libraries that ran. */
  readonly libraries: { readonly device: string; readonly cpu: string };
  readonly clocks: {
    readonly before: Clocks;
    /** One for each dataset. */
    readonly busy: readonly BusyClocks[];
    readonly after: Clocks;
  };
  /** How shares and rates were computed. */
  readonly method: readonly string[];
  readonly cases: readonly BenchCase[];
  readonly planner: PlannerTable;
}

/** @returns the path of the record */
export function writeGpuRecord(folder: string, record: GpuRecord): string {
  const fake = fakeReason(record.device);
  if (fake !== null) {
    throw new Refused(`no record is written: ${fake}, and a record is about a device`);
  }
  const machine = record.device.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/gu, '-')
    .replace(/-$/u, '');
  const target = join(folder, machine);
  mkdirSync(target, { recursive: true });
  const file = join(target, `${record.date}-gpu.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
  return file;
}
