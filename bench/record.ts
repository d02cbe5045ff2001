// Owns where benchmark results are kept: bench/record/<machine>/<date>-<name>.json, with what a reader
// needs to judge them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { commitOf } from './gpu/commit.ts';

/** Writes a record below the working directory. @returns its path */
export function writeRecord(name: string, facts: Readonly<Record<string, unknown>>): string {
  const cpu = cpus()[0]?.model.trim() ?? 'unknown';
  const machine = `${cpus().length}x-${cpu}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const folder = join(process.cwd(), 'bench', 'record', machine);
  mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  const record = {
    schema: 'tileloom.bench/1',
    date,
    commit: commitOf(process.cwd()),
    cpu,
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    ...facts,
  };
  const file = join(folder, `${date}-${name}.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 2)}\n`);
  return file;
}
