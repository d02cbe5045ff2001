// Owns where tileloom keeps things on this machine, and the environment variables that move them.
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { ServerError } from './errors.ts';

/** Temporal CLI that is obtained when none is there; its server is 1.29.1. */
export const TEMPORAL_CLI_VERSION = 'v1.5.1';

const DEFAULT_PORT = 7733;
const UI_PORT_OFFSET = 1000;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface HomePaths {
  /** State that must survive: the server's database, host identities. */
  readonly state: string;
  /** Things that can be made again. */
  readonly cache: string;
  /** Database, record, lock and log of the embedded server. */
  readonly server: string;
  /** One folder a host id. */
  readonly hosts: string;
  /** Prepared layers and indexes, by content. */
  readonly layers: string;
  /** Kernel images that were compiled for this machine's GPUs. */
  readonly images: string;
  /** Locks of GPUs: one executor holds a device, whichever worker it belongs to. */
  readonly devices: string;
  /** Temporal binaries, by version. */
  readonly temporal: string;
  /** Binary that TILELOOM_TEMPORAL_BIN names, or null. */
  readonly temporalBinary: string | null;
  readonly port: number;
  readonly uiPort: number;
}

/**
 * Paths below TILELOOM_HOME when it is set, else below the XDG state and cache folders.
 *
 * @throws {ServerError} `SERVER_PORT_INVALID` when TILELOOM_PORT is no port
 */
export function homePaths(environment: Environment = process.env): HomePaths {
  const home = environment['TILELOOM_HOME'];
  const state = home ? resolve(home, 'state') : xdg(environment, 'XDG_STATE_HOME', '.local/state');
  const cache = home ? resolve(home, 'cache') : xdg(environment, 'XDG_CACHE_HOME', '.cache');
  const port = portOf(environment, 'TILELOOM_PORT') ?? DEFAULT_PORT;
  return {
    state,
    cache,
    server: join(state, 'server'),
    hosts: join(state, 'hosts'),
    layers: join(cache, 'layers'),
    images: join(cache, 'images'),
    devices: join(state, 'devices'),
    temporal: join(cache, 'temporal'),
    temporalBinary: environment['TILELOOM_TEMPORAL_BIN'] || null,
    port,
    uiPort: portOf(environment, 'TILELOOM_UI_PORT') ?? port + UI_PORT_OFFSET,
  };
}

/** The XDG rules ignore relative paths. */
function xdg(environment: Environment, variable: string, fallback: string): string {
  const base = environment[variable];
  const home = environment['HOME'] || homedir();
  return join(base !== undefined && isAbsolute(base) ? base : join(home, fallback), 'tileloom');
}

function portOf(environment: Environment, variable: string): number | null {
  const text = environment[variable];
  if (text === undefined || text === '') return null;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65535 - UI_PORT_OFFSET) return port;
  throw new ServerError(
    'SERVER_PORT_INVALID',
    `${variable} is no usable port: expected a whole number from 1 to ${65535 - UI_PORT_OFFSET}, got "${text}"; unset it for the default`,
  );
}
