// Owns the host's lane slots: leases, and the slot suppliers of the pool queues that wait while none
// is free, so that whichever host has room answers claimHost.
//
// I1 leases ≤ capacity, always
// I2 a permit to poll a queue is granted only while leases + its outstanding permits < capacity;
//    checking leases alone would admit one claim per idle poll too many. Queues do not share permits:
//    idle polls of one would keep the other from being polled at all. So a claim may find that another
//    queue's claim was faster; it is refused, and the lane claims again.
// I3 a lease ends by release or by `ttlMs` without a sign of life; either lets a waiting poll go on
// I4 a host that drains grants no permit and no lease
//
// A lease that is not known (the process restarted, or it expired) is readmitted while I1 holds.
// That room may already be promised to an idle poll; its claim then finds none and is refused, and
// the lane claims elsewhere.
import type { ActivitySlotInfo, CustomSlotSupplier, SlotPermit } from '@temporalio/worker';
import type { LeaseBook, LeaseHold } from '../activities/index.ts';
import { WorkerError } from './errors.ts';
import { scheduleTimer, type Schedule } from './schedule.ts';

export interface LeasePoolOptions {
  /** Lanes this host works for at once. */
  readonly capacity: number;
  /** Milliseconds without a sign of life after which a lease ends. */
  readonly ttlMs: number;
  /** Milliseconds on any monotone or wall clock. */
  readonly now: () => number;
  /** Runs an action after some milliseconds. Default: a timer that keeps no process alive. */
  readonly schedule?: Schedule;
}

interface Waiter {
  readonly grant: (permit: SlotPermit) => void;
}

/** One pool queue that this host polls. */
interface PolledQueue {
  /** False: nothing is claimed there for now. */
  readonly isOpen: () => boolean;
  readonly permits: Set<SlotPermit>;
  readonly waiters: Set<Waiter>;
}

type Supplier = CustomSlotSupplier<ActivitySlotInfo>;

/** The leases of one host process. */
export class LeasePool {
  readonly capacity: number;
  readonly supplier: Supplier;
  readonly #options: LeasePoolOptions;
  /** Lease id → time at which it expires. */
  readonly #leases = new Map<string, number>();
  readonly #queues: PolledQueue[] = [];
  #draining = false;
  #sweepPlanned = false;

  constructor(options: LeasePoolOptions) {
    this.capacity = options.capacity;
    this.#options = options;
    this.supplier = this.createSupplier(() => true);
  }

  /** Creates the slot supplier of one more queue. */
  createSupplier(isOpen: () => boolean): Supplier {
    const queue: PolledQueue = { isOpen, permits: new Set(), waiters: new Set() };
    this.#queues.push(queue);
    return {
      type: 'custom',
      reserveSlot: (_context, abortSignal) => this.#reserve(queue, abortSignal),
      tryReserveSlot: () => null,
      markSlotUsed: () => undefined,
      releaseSlot: ({ permit }) => {
        queue.permits.delete(permit);
        this.#pump();
      },
    };
  }

  /** Looks again which queues are open. */
  wake(): void {
    this.#pump();
  }

  get leases(): number {
    this.#expire();
    return this.#leases.size;
  }

  get permits(): number {
    return this.#queues.reduce((sum, { permits }) => sum + permits.size, 0);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Stops claiming for good; leases end by themselves. */
  drain(): void {
    this.#draining = true;
  }

  /** The face that activities see. */
  book(): LeaseBook {
    return {
      claim: () => this.#claim(),
      hold: (leaseId) => this.#hold(leaseId),
      release: (leaseId) => {
        this.#leases.delete(leaseId);
        this.#pump();
      },
    };
  }

  #reserve(queue: PolledQueue, abortSignal: AbortSignal): Promise<SlotPermit> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        queue.waiters.delete(waiter);
        // The SDK knows its own reason, an AbortError; anything else it logs as an error.
        reject(abortSignal.reason);
      };
      const waiter: Waiter = {
        grant: (permit) => {
          abortSignal.removeEventListener('abort', abort);
          resolve(permit);
        },
      };
      if (abortSignal.aborted) {
        abort();
        return;
      }
      abortSignal.addEventListener('abort', abort);
      queue.waiters.add(waiter);
      this.#pump();
    });
  }

  /** Grants waiting polls while there is room. */
  #pump(): void {
    this.#expire();
    for (const queue of this.#queues) this.#pumpQueue(queue);
  }

  #pumpQueue({ isOpen, permits, waiters }: PolledQueue): void {
    for (const waiter of waiters) {
      if (this.#draining || !isOpen()) return;
      if (this.#leases.size + permits.size >= this.capacity) return;
      const permit: SlotPermit = {};
      waiters.delete(waiter);
      permits.add(permit);
      waiter.grant(permit);
    }
  }

  #claim(): string {
    this.#refuseWhenDraining();
    this.#expire();
    if (this.#leases.size >= this.capacity) {
      throw new WorkerError(
        'LEASE_LOST',
        `host has no free lane slot: expected fewer than ${this.capacity} leases, got ${this.#leases.size}; the lane claims again`,
      );
    }
    const leaseId = crypto.randomUUID();
    this.#renew(leaseId);
    return leaseId;
  }

  #hold(leaseId: string): LeaseHold {
    this.#refuseWhenDraining();
    this.#expire();
    if (!this.#leases.has(leaseId) && this.#leases.size >= this.capacity) {
      throw new WorkerError(
        'LEASE_LOST',
        `lease ${leaseId} is not known here and its slot is taken: expected fewer than ${this.capacity} leases, got ${this.#leases.size}; the lane claims again`,
      );
    }
    const renew = (): void => this.#renew(leaseId);
    renew();
    return {
      renew: () => {
        if (this.#leases.has(leaseId)) renew();
      },
      done: () => {
        if (this.#leases.has(leaseId)) renew();
      },
    };
  }

  #refuseWhenDraining(): void {
    if (!this.#draining) return;
    throw new WorkerError(
      'HOST_DRAINING',
      'host is shutting down and takes no new work; the lane claims another host',
    );
  }

  #renew(leaseId: string): void {
    this.#leases.set(leaseId, this.#options.now() + this.#options.ttlMs);
    this.#planSweep();
  }

  #expire(): void {
    const now = this.#options.now();
    for (const [leaseId, expiresAt] of this.#leases) {
      if (expiresAt <= now) this.#leases.delete(leaseId);
    }
  }

  /** One timer for the lease that expires first; it runs again while leases are left. */
  #planSweep(): void {
    if (this.#sweepPlanned || this.#leases.size === 0) return;
    const first = Math.min(...this.#leases.values());
    const delayMs = Math.max(1, first - this.#options.now());
    const schedule = this.#options.schedule ?? scheduleTimer;
    this.#sweepPlanned = true;
    schedule(delayMs, () => {
      this.#sweepPlanned = false;
      this.#pump();
      this.#planSweep();
    });
  }
}
