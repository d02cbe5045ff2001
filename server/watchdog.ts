// Owns the tie between a server and the process that started it for itself: a small process whose
// standard input ends when its parent does, however it ends, and which then stops the server.
import { spawn } from 'node:child_process';
import type { ProcessIdentity } from './process-identity.ts';

const STOP_MS_MAX = 8_000;

/** Runs as `node -e`, so that it is the same from sources and from the compiled product. */
const SCRIPT = `
const { readFileSync } = require('node:fs');
const [pid, startTime, stopMs] = process.argv.slice(1);
const lives = () => {
  try {
    const stat = readFileSync('/proc/' + pid + '/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] !== 'Z' && fields[19] === startTime;
  } catch { return false; }
};
const send = (signal) => { try { if (lives()) process.kill(Number(pid), signal); } catch {} };
setInterval(() => { if (!lives()) process.exit(0); }, 200);
process.stdin.on('end', () => {
  send('SIGTERM');
  setTimeout(() => send('SIGKILL'), Number(stopMs));
});
process.stdin.on('error', () => undefined);
process.stdin.resume();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
`;

/** Stops the server when this process ends, also by SIGKILL. */
export function tieToThisProcess(server: ProcessIdentity): void {
  const args = [
    '-e',
    SCRIPT,
    '--',
    String(server.pid),
    server.startTime ?? '',
    String(STOP_MS_MAX),
  ];
  const child = spawn(process.execPath, args, {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    env: {},
  });
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
}
