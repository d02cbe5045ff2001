// Owns what was planned for devices of this host and has not begun there: lanes that plan at the same time
// would else all find the same device idle.
//
// I1 a lease has one planned chunk at most; it counts until execute begins, and no longer than `ttlMs`

interface Planned {
  readonly deviceId: string;
  readonly until: number;
}

/** From the plan's answer to execute it is two hops over the service. */
const TTL_MS = 5_000;

/** Planned chunks by lease. */
export class PlannedWork {
  readonly #byLease = new Map<string, Planned>();
  readonly #now: () => number;

  /** @param now milliseconds on a monotone clock */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A plan for the lease was made; null: it was refused. */
  planned(leaseId: string, deviceId: string | null): void {
    this.#byLease.delete(leaseId);
    if (deviceId !== null) this.#byLease.set(leaseId, { deviceId, until: this.#now() + TTL_MS });
  }

  /** The lease's chunk has begun, or will not. */
  ended(leaseId: string): void {
    this.#byLease.delete(leaseId);
  }

  /** Chunks on their way to a device. */
  count(deviceId: string): number {
    const now = this.#now();
    let count = 0;
    for (const [leaseId, planned] of this.#byLease) {
      if (planned.until <= now) this.#byLease.delete(leaseId);
      else if (planned.deviceId === deviceId) count += 1;
    }
    return count;
  }
}
