// Owns the interceptor that notes each activity of this host as in flight while it runs.
import type { Context } from '@temporalio/activity';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import type { InFlight } from './in-flight.ts';

/** Creates an activity interceptor that records what runs, for recovery after a kill. */
export function trackInFlight(inFlight: InFlight): ActivityInterceptorsFactory {
  return (context: Context) => ({
    inbound: {
      execute: async (input, next) => {
        const { workflowExecution, activityId } = context.info;
        if (workflowExecution === undefined) return next(input);
        const entry = await inFlight.add({ ...workflowExecution, activityId });
        try {
          return await next(input);
        } finally {
          await entry.remove();
        }
      },
    },
  });
}
