// Owns what a namespace must have before runs start: retention, and the search attributes of a run.
import { Connection, type ConnectionOptions } from '@temporalio/client';
import type { Report } from './resolve-binary.ts';

export const NAMESPACE = 'default';
export const RETENTION_DAYS = 30;

/** `temporal.api.enums.v1.IndexedValueType`. */
const KEYWORD = 2;
const INT = 3;
/** Attributes of a run and their types; the workflows write them. */
const SEARCH_ATTRIBUTES: readonly (readonly [name: string, type: number])[] = [
  ['TileloomPipeline', KEYWORD],
  ['TileloomPhase', KEYWORD],
  ['TileloomPausedBy', KEYWORD],
  ['TileloomParked', INT],
];
const SERVING = 1;

/** Tells whether the service answers and its namespace is there. */
export async function isServing(options: ConnectionOptions, namespace: string): Promise<boolean> {
  try {
    return await withConnection({ ...options, connectTimeout: 2_000 }, async (connection) => {
      const service = 'temporal.api.workflowservice.v1.WorkflowService';
      const health = await connection.healthService.check({ service });
      await connection.workflowService.describeNamespace({ namespace });
      return health.status === SERVING;
    });
  } catch {
    return false;
  }
}

/** Sets the retention of closed runs: the dev server's own is a day. */
export async function setRetention(
  options: ConnectionOptions,
  namespace: string,
  days: number,
): Promise<void> {
  await withConnection(options, (connection) =>
    connection.workflowService.updateNamespace({
      namespace,
      config: { workflowExecutionRetentionTtl: { seconds: days * 86_400 } as never },
    }),
  );
}

/** How long a service may take to answer at all. */
const CONNECT_MS_MAX = 5_000;

/** Unavailable: whatever follows would only wait for it again. A slow answer to this is no such sign. */
const GRPC_UNAVAILABLE = 14;

/**
 * Registers a run's search attributes where they are missing.
 *
 * @throws what the client throws when the service does not answer or has no such namespace: nothing
 *   else can be done there either
 * @returns whether they can be used; false where this client may not add them, or where they exist
 *   with another type
 */
export async function registerSearchAttributes(
  options: ConnectionOptions,
  namespace: string,
  report: Report,
): Promise<boolean> {
  const settings = { connectTimeout: CONNECT_MS_MAX, ...options };
  return withConnection(settings, async (connection) => {
    try {
      return await addMissing(connection, namespace);
    } catch (error) {
      if (isFatal(error)) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      report({ step: 'serving', message: `search attributes are left out: ${reason}` });
      return false;
    }
  });
}

async function addMissing({ operatorService }: Connection, namespace: string): Promise<boolean> {
  const known = await operatorService.listSearchAttributes({ namespace });
  const custom = known.customAttributes ?? {};
  const missing = SEARCH_ATTRIBUTES.filter(([name]) => custom[name] === undefined);
  if (missing.length > 0) {
    await operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing),
    });
  }
  return SEARCH_ATTRIBUTES.every(([name, type]) => (custom[name] ?? type) === type);
}

const GRPC_NOT_FOUND = 5;

function isFatal(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (code === GRPC_UNAVAILABLE) return true;
  return code === GRPC_NOT_FOUND && /\bnamespace\b/iu.test(String(message));
}

async function withConnection<Result>(
  options: ConnectionOptions,
  use: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const connection = await Connection.connect(options);
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}
