// Owns the worker's log: pino lines on stderr, with the Temporal SDK's own log bridged into it.
import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, Runtime, type LogLevel, type LogMetadata } from '@temporalio/worker';
import { pino, type Logger } from 'pino';

let installed = false;

/** Creates the process's logger and, once per process, routes the Temporal SDK's log into it. */
export function createLogger(level: string): Logger {
  const logger = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination(2),
  );
  if (!installed) {
    installed = true;
    Runtime.install({
      logger: new DefaultLogger('WARN', (entry) => {
        if (ONE_KIND_ONLY.test(entry.message)) return;
        logger[pinoLevel(entry.level)](factsOf(entry.meta), entry.message);
      }),
      telemetryOptions: { logging: { filter: { core: 'WARN', other: 'WARN' }, forward: {} } },
      shutdownSignals: [],
    });
  }
  return logger;
}

/** Each of our queues takes one kind of task on purpose; the SDK warns about the other. */
const ONE_KIND_ONLY = /^No (activities|workflows) registered/u;

/** The part of the SDK's metadata that helps a reader: what failed, where, and how. */
function factsOf(meta: LogMetadata | undefined): Record<string, unknown> {
  const { workflowId, activityId, taskQueue, attempt, error } = meta ?? {};
  return { workflowId, activityId, taskQueue, attempt, ...errorOf(error) };
}

/** Type and message; a stack says nothing about a failure that has a code. */
function errorOf(error: unknown): Record<string, unknown> {
  if (error instanceof ApplicationFailure) return { type: error.type, error: error.message };
  return error === undefined ? {} : { err: error };
}

function pinoLevel(level: LogLevel): 'error' | 'warn' | 'info' | 'debug' {
  if (level === 'ERROR') return 'error';
  if (level === 'WARN') return 'warn';
  return level === 'INFO' ? 'info' : 'debug';
}
