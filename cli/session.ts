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
import type { CommandIo } from './io.ts';
import {
  explainServiceError,
  isNamespaceUnknown,
  requireAddress,
  unreachable,
} from './service-errors.ts';

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
 * @throws {ServerError} as settingsOf does
 */
export async function withSession<T>(
  io: CommandIo,
  options: SessionOptions,
  run: (session: Session) => Promise<T>,
): Promise<T> {
  const settings = await settingsOf(io, options);
  const connection = await connect(settings);
  try {
    if (settings.kind === 'profile') await requireNamespace(connection, settings.namespace);
    const client = new Client({ connection, namespace: settings.namespace });
    return await run({ client, settings, now: io.now, ...foldersOf(io.env) });
  } catch (error) {
    throw explainServiceError(settings, error);
  } finally {
    await connection.close();
  }
}

/**
 * Settles which service to talk to; may start the embedded one.
 *
 * @throws {ServerError} `SERVER_PROFILE_INVALID`, and what connectionSettings throws
 * @throws {CliError} `CLI_SERVER_UNREACHABLE` where a configured service is to get runs
 */
export async function settingsOf(
  io: CommandIo,
  options: SessionOptions,
): Promise<ConnectionSettings> {
  const settle = (startEmbedded: boolean): Promise<ConnectionSettings> =>
    connectionSettings({
      startEmbedded,
      tieToParent: options.tieToParent ?? false,
      environment: io.env,
      report: ({ message }) => options.note?.(message),
    });
  if (!(options.start ?? false)) {
    const settings = await settle(false);
    requireAddress(settings);
    return settings;
  }
  // Asks nobody and starts nothing: it only names the service, so that its failures can name it.
  const named = await settle(false).catch(() => null);
  if (named !== null) requireAddress(named);
  try {
    return await settle(true);
  } catch (error) {
    throw named === null ? error : explainServiceError(named, error);
  }
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
    throw unreachable(settings, error);
  }
}

/** Some calls take a missing namespace for a missing run, and watching takes it for a bad moment. */
async function requireNamespace(connection: Connection, namespace: string): Promise<void> {
  try {
    await connection.withDeadline(Date.now() + CONNECT_MS_MAX, () =>
      connection.workflowService.describeNamespace({ namespace }),
    );
  } catch (error) {
    // Whoever may not ask, or is not answered in time, may still do what the command is about.
    if (isNamespaceUnknown(error)) throw error;
  }
}
