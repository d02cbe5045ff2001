// Owns the connection of one command to the Temporal service, and the folders it may use on this
// machine.
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import {
  connectionSettings,
  homePaths,
  type ConnectionSettings,
  type Environment,
} from '../server/index.ts';
import { CliError } from './errors.ts';
import type { CommandIo } from './io.ts';

export interface Session {
  readonly client: Client;
  readonly settings: ConnectionSettings;
  readonly now: () => number;
  /** Where this machine remembers the runs it started. */
  readonly runsFolder: string;
  readonly logsFolder: string;
}

export interface SessionOptions {
  /** Start the embedded server when nothing is configured and none runs. */
  readonly start?: boolean;
  /** Stop it when this process ends. */
  readonly tieToParent?: boolean;
  /** Hears what is being done, when it takes a while. */
  readonly note?: (message: string) => void;
}

const CONNECT_MS_MAX = 5_000;

/**
 * Opens a session, runs a function with it and closes it.
 *
 * @throws {CliError} `CLI_SERVER_UNREACHABLE`
 */
export async function withSession<T>(
  io: CommandIo,
  options: SessionOptions,
  run: (session: Session) => Promise<T>,
): Promise<T> {
  const settings = await settingsOf(io, options);
  const connection = await connect(settings);
  try {
    const client = new Client({ connection, namespace: settings.namespace });
    return await run({ client, settings, now: io.now, ...foldersOf(io.env) });
  } catch (error) {
    throw isUnavailable(error) ? unreachable(settings.address, error) : error;
  } finally {
    await connection.close();
  }
}

/** Settles which service to talk to; may start the embedded one. */
export function settingsOf(io: CommandIo, options: SessionOptions): Promise<ConnectionSettings> {
  return connectionSettings({
    startEmbedded: options.start ?? false,
    tieToParent: options.tieToParent ?? false,
    environment: io.env,
    report: ({ message }) => options.note?.(message),
  });
}

export function foldersOf(environment: Environment): { runsFolder: string; logsFolder: string } {
  const { state } = homePaths(environment);
  return { runsFolder: join(state, 'runs'), logsFolder: join(state, 'logs') };
}

async function connect(settings: ConnectionSettings): Promise<Connection> {
  try {
    return await Connection.connect({
      ...settings.connectionOptions,
      connectTimeout: CONNECT_MS_MAX,
    });
  } catch (error) {
    throw unreachable(settings.address, error);
  }
}

/** Deadline exceeded, unavailable. */
const GRPC_SILENT: readonly unknown[] = [4, 14];
const GRPC_DENIED = [7, 16];

/** A connection that broke, or a service that refused the caller. */
function isUnavailable(error: unknown): boolean {
  const own = error as { code?: unknown; cause?: { code?: unknown } } | null;
  const codes = [own?.code, own?.cause?.code];
  return codes.some(
    (code) => GRPC_SILENT.includes(code) || GRPC_DENIED.includes(Number(code ?? -1)),
  );
}

function unreachable(address: string, cause: unknown): CliError {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
  return new CliError(
    'CLI_SERVER_UNREACHABLE',
    `Temporal on ${address} cannot be used: expected an answer, got ${reason ?? 'nothing'}; ` +
      'check it with `tileloom server status`, or the TEMPORAL_* settings',
    { retryable: true, details: { address }, cause },
  );
}
