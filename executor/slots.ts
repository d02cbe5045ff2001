// Owns admission to a device inside its executor: at most `capacity` native calls at once, first come
// first served, so that two lanes share the cores and one lane alone gets all of them.

/** Counting semaphore with a FIFO queue; the queue is bounded by the jobs' own windows. */
export class Slots {
  readonly capacity: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#free = capacity;
  }

  /** Resolves with a function that gives the slot back; calling it twice has no effect. */
  async acquire(): Promise<() => void> {
    if (this.#free > 0) {
      this.#free -= 1;
    } else {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    };
  }
}
