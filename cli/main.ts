#!/usr/bin/env node
// Owns the start of the process: it loads what a command line needs, and nothing before it is known.
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { leaveSoon, processIo, type CommandIo } from './io.ts';
import { loadQuickly } from './quick-start.ts';

/** Runs one command line (without node and script) and returns the exit code; it never throws. */
export async function main(argv: readonly string[], io: CommandIo): Promise<number> {
  const { runCommandLine } = loadQuickly(argv) ?? (await import('./command-line.ts'));
  return runCommandLine(argv, io);
}

const script = process.argv[1];
if (script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2), processIo());
  leaveSoon();
}
