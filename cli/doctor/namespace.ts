// Owns the difference between a service that does not answer and one that lacks a namespace.
import type { ConnectionSettings } from '../../server/index.ts';

const NOT_FOUND = 5;
const ANSWER_MS_MAX = 2_000;

/** Whether the service answers, and says that it has no namespace of that name. */
export async function answersWithout(
  options: ConnectionSettings['connectionOptions'],
  namespace: string,
): Promise<boolean> {
  const { Connection } = await import('@temporalio/client');
  try {
    const connection = await Connection.connect({ ...options, connectTimeout: ANSWER_MS_MAX });
    try {
      await connection.withDeadline(Date.now() + ANSWER_MS_MAX, () =>
        connection.workflowService.describeNamespace({ namespace }),
      );
      return false;
    } finally {
      await connection.close();
    }
  } catch (error) {
    return (error as { code?: unknown }).code === NOT_FOUND;
  }
}
