// Owns the worker's log: pino lines on stderr, with the Temporal SDK's own log bridged into it.
import { DefaultLogger, Runtime, type LogLevel } from '@temporalio/worker';
import { pino, type Logger } from 'pino';

let installed = false;

/** Creates the process's logger and, once per process, routes the Temporal SDK's log into it. */
export function createLogger(level: string): Logger {
  const logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
  if (!installed) {
    installed = true;
    Runtime.install({
      logger: new DefaultLogger('WARN', (entry) => {
        logger[pinoLevel(entry.level)]({ temporal: entry.meta }, entry.message);
      }),
      telemetryOptions: { logging: { filter: { core: 'WARN', other: 'WARN' }, forward: {} } },
      shutdownSignals: [],
    });
  }
  return logger;
}

function pinoLevel(level: LogLevel): 'error' | 'warn' | 'info' | 'debug' {
  if (level === 'ERROR') return 'error';
  if (level === 'WARN') return 'warn';
  return level === 'INFO' ? 'info' : 'debug';
}
