// Owns who may be inside the executor together: many ordinary jobs, or one suspect alone.

/** Shared/exclusive gate, first come first served. */
export class Gate {
  #inside = 0;
  #exclusive = false;
  readonly #waiting: { readonly alone: boolean; readonly open: () => void }[] = [];

  /**
   * Waits for admission.
   *
   * @param alone no other job may be inside at the same time
   * @returns a function that leaves the gate
   * @throws the signal's reason when it is aborted while waiting
   */
  async enter(alone: boolean, signal: AbortSignal): Promise<() => void> {
    if (!(this.#waiting.length === 0 && this.#admits(alone))) await this.#queue(alone, signal);
    else this.#admit(alone);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= 1;
      this.#exclusive = false;
      this.#pump();
    };
  }

  #admits(alone: boolean): boolean {
    return alone ? this.#inside === 0 : !this.#exclusive;
  }

  #admit(alone: boolean): void {
    this.#inside += 1;
    this.#exclusive = alone;
  }

  #queue(alone: boolean, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const entry = {
        alone,
        open: (): void => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1);
        reject(signal.reason as Error);
        this.#pump();
      };
      if (signal.aborted) return reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(entry);
    });
  }

  #pump(): void {
    for (let head = this.#waiting[0]; head !== undefined; head = this.#waiting[0]) {
      if (!this.#admits(head.alone)) return;
      this.#waiting.shift();
      this.#admit(head.alone);
      head.open();
    }
  }
}
