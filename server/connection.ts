// Owns which Temporal service a command or worker talks to: a configured TEMPORAL_* profile wins;
// else the embedded server, which is started on demand.
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { ConnectionOptions } from '@temporalio/client';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { ServerError } from './errors.ts';
import { homePaths, type Environment } from './home-paths.ts';
import { NAMESPACE, registerSearchAttributes } from './namespace.ts';
import { LOOPBACK } from './ports.ts';
import { readRecord, serverFiles } from './record.ts';
import type { Report } from './resolve-binary.ts';

export interface ConnectionSettings {
  readonly kind: 'profile' | 'embedded';
  readonly address: string;
  readonly namespace: string;
  /** For `Connection.connect` and `NativeConnection.connect` alike. */
  readonly connectionOptions: ConnectionOptions & NativeConnectionOptions;
  /** Whether a run may write its search attributes there; false where no runs are to be started. */
  readonly searchAttributes: boolean;
}

export interface ConnectionRequest {
  /**
   * Whether the caller starts runs: the embedded server is started when nothing else is configured
   * and it is not running, a configured one is given the search attributes of runs.
   */
  readonly startEmbedded: boolean;
  readonly report: Report;
  readonly environment?: Environment;
  readonly tieToParent?: boolean;
}

/**
 * Settles where to connect to.
 *
 * @throws {ServerError} `SERVER_PROFILE_INVALID`, `SERVER_NOT_RUNNING`, and what startServer throws
 */
export async function connectionSettings(request: ConnectionRequest): Promise<ConnectionSettings> {
  const environment = request.environment ?? process.env;
  const profile = configuredProfile(environment);
  if (profile !== null) {
    const { connectionOptions, namespace } = profile;
    const searchAttributes =
      request.startEmbedded &&
      (await registerSearchAttributes(connectionOptions, namespace, request.report));
    return { ...profile, searchAttributes };
  }
  const paths = homePaths(environment);
  const { report, startEmbedded, tieToParent } = request;
  if (startEmbedded) {
    const { startServer } = await import('./start.ts');
    const server = await startServer({ report, paths, tieToParent: tieToParent ?? false });
    return embedded(server.address);
  }
  // Its process lives; whether it serves, the caller's own connection finds out soonest.
  const record = readRecord(serverFiles(paths));
  if (record !== null) return embedded(`${LOOPBACK}:${record.port}`);
  throw new ServerError(
    'SERVER_NOT_RUNNING',
    `no Temporal service to talk to: expected TEMPORAL_ADDRESS or an embedded server on ${LOOPBACK}:${paths.port}, got none; run "tileloom server start"`,
  );
}

function embedded(address: string): ConnectionSettings {
  return {
    kind: 'embedded',
    address,
    namespace: NAMESPACE,
    connectionOptions: { address },
    searchAttributes: true,
  };
}

/**
 * The profile that TEMPORAL_* variables or the Temporal config file give; null without an address.
 */
function configuredProfile(
  environment: Environment,
): Omit<ConnectionSettings, 'searchAttributes'> | null {
  const variables = Object.fromEntries(
    Object.entries(environment).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  try {
    const { connectionOptions, namespace } = loadProfile(variables);
    const { address } = connectionOptions;
    if (address === undefined) return null;
    const options = connectionOptions as ConnectionSettings['connectionOptions'];
    return {
      kind: 'profile',
      address,
      namespace: namespace ?? NAMESPACE,
      connectionOptions: options,
    };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
    throw new ServerError(
      'SERVER_PROFILE_INVALID',
      `Temporal profile cannot be read: expected TEMPORAL_* variables or a config file, got ${reason}; correct or unset them`,
      { cause: error },
    );
  }
}

/** A config file without any profile makes the SDK's reader throw a TypeError; it counts as none. */
function loadProfile(
  overrideEnvVars: Record<string, string>,
): ReturnType<typeof loadClientConnectConfig> {
  try {
    return loadClientConnectConfig({ overrideEnvVars });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return loadClientConnectConfig({ overrideEnvVars, disableFile: true });
  }
}
