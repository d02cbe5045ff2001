// Owns the probes' only contact with the machine, small enough to be replaced by a table in tests.
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';

export interface ProbeEnvironment {
  /** Content of a file, or null when it cannot be read for whatever reason. */
  readonly readText: (path: string) => string | null;
  readonly exists: (path: string) => boolean;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** What the runtime itself knows, for hosts whose /proc cannot be read. */
  readonly parallelism: () => number;
  readonly memoryBytes: () => number;
}

/** The real machine. */
export const MACHINE: ProbeEnvironment = Object.freeze({
  readText: (path: string): string | null => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  },
  exists: (path: string): boolean => existsSync(path),
  nowMs: () => Date.now(),
  parallelism: () => availableParallelism(),
  memoryBytes: () => totalmem(),
});
