// Owns admission to a device inside its executor: at most `capacity` native calls at once. Calls of the
// chunk that came first go first; later chunks fill what it leaves free. So two lanes drift apart,
// and one plans while the other keeps all cores busy, instead of both ending at the same moment.

interface Waiting {
  readonly rank: number;
  readonly open: () => void;
}

/** Counting semaphore; lowest rank first, then first come. Its queue is bounded by the jobs' windows. */
export class Slots {
  readonly capacity: number;
  #free: number;
  readonly #waiting: Waiting[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = capacity;
  }

  /**
   * Waits for a slot.
   *
   * @param rank place of the caller's chunk in the order of arrival
   * @returns a function that gives the slot back; calling it twice has no effect
   * @throws the signal's reason when it is aborted before a slot is free
   */
  async acquire(rank: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(rank, signal);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next.open();
    };
  }

  #wait(rank: number, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const waiting: Waiting = {
        rank,
        open: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const after = this.#waiting.findIndex((other) => other.rank > rank);
      this.#waiting.splice(after < 0 ? this.#waiting.length : after, 0, waiting);
    });
  }
}
