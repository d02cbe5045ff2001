// Owns how long chunks occupy a device that works on several calls at once, as a GPU does: copies of one
// call overlap the kernel of another, so sums over calls would count the same second twice or thrice.

/** What one chunk has taken so far. */
export interface WorkShare {
  /** Calls in flight. */
  calls: number;
  seconds: number;
}

/**
 * Divides the time in which calls are in flight among the chunks they belong to: with n calls in flight
 * each one takes 1/n of the time that passes. So the shares of all chunks add up to the wall time in
 * which the device was busy, and a chunk that is alone gets all of it, however many calls it keeps in
 * flight.
 */
export class WorkClock {
  readonly #now: () => number;
  readonly #busy = new Set<WorkShare>();
  #calls = 0;
  #since = 0;

  /** @param now milliseconds on a monotone clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Begins a call of a chunk; the function that is returned ends it, once. */
  begin(share: WorkShare): () => void {
    this.#settle();
    this.#calls += 1;
    share.calls += 1;
    this.#busy.add(share);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#settle();
      this.#calls -= 1;
      share.calls -= 1;
      if (share.calls === 0) this.#busy.delete(share);
    };
  }

  /** Books the time since the last change. */
  #settle(): void {
    const now = this.#now();
    const seconds = (now - this.#since) / 1000;
    for (const share of this.#busy) share.seconds += (seconds * share.calls) / this.#calls;
    this.#since = now;
  }
}
