// Owns what activities need of the host's lease pool; the worker room implements it.

export interface LeaseHold {
  /** Moves the lease's expiry; called with each heartbeat. */
  renew(): void;
  /** The activity no longer works under the lease; the lease itself goes on. */
  done(): void;
}

export interface LeaseBook {
  /** Takes the permit that this poll reserved. @throws EngineError `HOST_DRAINING`, `LEASE_LOST` */
  claim(owner: { readonly runId: string; readonly shard: number; readonly lane: number }): string;
  /** Renews a lease, readmitting an unknown one if there is room. @throws `LEASE_LOST`, `HOST_DRAINING` */
  hold(leaseId: string): LeaseHold;
  release(leaseId: string): void;
}
