// Owns timers of the worker that nobody waits for.

export type Schedule = (delayMs: number, action: () => void) => void;

/** Runs an action later, unless the process ends first: the timer does not keep it alive. */
export function scheduleTimer(delayMs: number, action: () => void): void {
  setTimeout(action, delayMs).unref();
}
