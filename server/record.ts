// Owns the record of the embedded server: which process serves the database file, and where.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HomePaths } from './home-paths.ts';
import { isAlive, type ProcessIdentity } from './process-identity.ts';

export interface ServerRecord extends ProcessIdentity {
  readonly schema: 'tileloom.server/1';
  readonly port: number;
  readonly uiPort: number;
  readonly binary: string;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
}

export interface ServerFiles {
  readonly record: string;
  readonly lock: string;
  readonly log: string;
  readonly database: string;
}

export function serverFiles(paths: HomePaths): ServerFiles {
  return {
    record: join(paths.server, 'server.json'),
    lock: join(paths.server, 'server.lock'),
    log: join(paths.server, 'server.log'),
    database: join(paths.server, 'temporal.db'),
  };
}

/** The record of the living server; that of a dead one is removed. */
export function readRecord(files: ServerFiles): ServerRecord | null {
  let record: ServerRecord;
  try {
    record = JSON.parse(readFileSync(files.record, 'utf8')) as ServerRecord;
  } catch {
    return null;
  }
  if (record.schema === 'tileloom.server/1' && isAlive(record)) return record;
  rmSync(files.record, { force: true });
  return null;
}

export function writeRecord(files: ServerFiles, record: ServerRecord): void {
  mkdirSync(join(files.record, '..'), { recursive: true });
  const partial = `${files.record}.${process.pid}.tmp`;
  writeFileSync(partial, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(partial, files.record);
}

export function removeRecord(files: ServerFiles): void {
  rmSync(files.record, { force: true });
}
