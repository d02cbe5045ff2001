// Owns running a short-lived program and collecting what it prints.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Environment } from './home-paths.ts';

const OUTPUT_CHARACTERS_MAX = 64_000;

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. Rejects only when it cannot be started. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: { readonly env?: Environment; readonly onLine?: (line: string) => void },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...(options.env ?? process.env) },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout = (stdout + data.toString()).slice(-OUTPUT_CHARACTERS_MAX);
    });
    createInterface({ input: child.stderr }).on('line', (line) => {
      stderr = `${stderr}${line}\n`.slice(-OUTPUT_CHARACTERS_MAX);
      options.onLine?.(line);
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? new Error(`${command} is not installed`) : error);
    });
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}
