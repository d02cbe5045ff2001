// Owns the question whether a loopback port is free, and who has it if not.
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';

export const LOOPBACK = '127.0.0.1';

/** Tells whether a listener could bind to the port now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host: LOOPBACK, port, exclusive: true }, () => {
      probe.close(() => resolve(true));
    });
  });
}

/** Process that listens on the port, as far as this user may see it; null otherwise. */
export function portOwner(port: number): number | null {
  const inode = listeningInode(port);
  if (inode === null) return null;
  const target = `socket:[${inode}]`;
  for (const name of safeList('/proc')) {
    if (!/^[0-9]+$/u.test(name)) continue;
    const folder = `/proc/${name}/fd`;
    if (safeList(folder).some((fd) => safeLink(`${folder}/${fd}`) === target)) return Number(name);
  }
  return null;
}

/** Rows of /proc/net/tcp: index, local address, remote address, state (0A: listening), …, inode. */
function listeningInode(port: number): string | null {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of safeRead(table).split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/u);
      if (fields[1]?.endsWith(suffix) && fields[3] === '0A') return fields[9] ?? null;
    }
  }
  return null;
}

function safeRead(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function safeList(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function safeLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}
