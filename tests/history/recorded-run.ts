// Histories of a run's own workflow, as the server records them, made by hand: tasks that act on signals,
// updates and timers over the real reducer. It keeps the entries as they were made, for comparison.
import type { AuditEvent } from '../../history/index.ts';
import {
  applyRequest,
  expire,
  knownRequest,
  refusalOf,
  type AuditEntry,
  type OperatorRequest,
  type OperatorState,
} from '../../operator/index.ts';
import { OPERATE_SIGNAL, OPERATE_UPDATE } from '../../workflows/messages.ts';

type Payloads = { readonly payloads: readonly { readonly data: Uint8Array }[] };

export const payload = (value: unknown): Payloads => ({
  payloads: [{ data: new TextEncoder().encode(JSON.stringify(value)) }],
});

export interface Task {
  /** Milliseconds at which the task starts. */
  readonly at: number;
  readonly signals?: readonly unknown[];
  readonly updates?: readonly OperatorRequest[];
  /** Updates whose pins an activity finds impossible. */
  readonly impossible?: readonly OperatorRequest[];
  /** Whether the timer of the next expiry fired. */
  readonly timer?: boolean;
}

export class RecordedRun {
  readonly events: AuditEvent[] = [];
  readonly entries: AuditEntry[] = [];
  state: OperatorState;
  phase = 'running';
  #eventId = 0;

  constructor(state: OperatorState, at: number) {
    this.state = state;
    this.start(at, null);
  }

  /** Begins an execution, `how` says after what. */
  start(at: number, how: 'continued' | 'retried' | null): void {
    this.#eventId = 0;
    this.phase = 'running';
    this.add(at, {
      workflowExecutionStartedEventAttributes: {
        input: payload({ operator: this.state, carried: how === null ? null : {} }),
        continuedExecutionRunId: how === 'continued' ? 'the-one-before' : '',
        identity: '7@host',
      },
    });
  }

  add(at: number, attributes: AuditEvent): number {
    this.#eventId += 1;
    // Event ids and seconds come as Long objects.
    const eventTime = { seconds: long(Math.floor(at / 1000)), nanos: (at % 1000) * 1e6 + 17 };
    this.events.push({ eventId: long(this.#eventId), eventTime, ...attributes });
    return this.#eventId;
  }

  task({ at, signals = [], updates = [], impossible = [], timer = false }: Task): void {
    for (const request of signals) {
      this.add(at - 1, {
        workflowExecutionSignaledEventAttributes: {
          signalName: OPERATE_SIGNAL,
          input: payload(request),
        },
      });
    }
    this.add(at, { workflowTaskStartedEventAttributes: {} });
    this.add(at + 3, { workflowTaskCompletedEventAttributes: {} });
    for (const request of signals) this.#bySignal(request, at);
    for (const request of updates) this.#byUpdate(request, at);
    for (const request of impossible) this.#refusedLater(request, at);
    if (timer) this.#expireAll(at);
  }

  publish(at: number): void {
    this.task({ at });
    this.phase = 'publishing';
    this.add(at, {
      activityTaskScheduledEventAttributes: { activityType: { name: 'publishRun' } },
    });
  }

  #facts(nowMs: number): Parameters<typeof refusalOf>[2] {
    return { nowMs, phase: this.phase, tiles: 100 };
  }

  #expireAll(now: number): void {
    for (let next = expire(this.state, now); next.entry; next = expire(this.state, now)) {
      this.state = next.state;
      this.entries.push(next.entry);
    }
  }

  #bySignal(value: unknown, at: number): void {
    if (refusalOf(this.#asOf(at), value, this.#facts(at)) !== null) return;
    const request = value as OperatorRequest;
    if (!['pause', 'resume'].includes(request.command.verb)) return;
    this.#expireAll(at);
    this.#adopt(applyRequest(this.state, request, this.#facts(at)));
  }

  #byUpdate(request: OperatorRequest, at: number): void {
    if (refusalOf(this.#asOf(at), request, this.#facts(at)) !== null) return;
    const accepted = this.#accept(request, at);
    this.#expireAll(at);
    const known = knownRequest(this.state, request.id);
    const { state, entry, pins } = applyRequest(this.state, request, this.#facts(at));
    this.#adopt({ state, entry });
    const epoch = known?.epoch ?? state.epoch;
    const schema = 'tileloom.operator-answer/1';
    const success = payload({ schema, epoch, changed: entry !== null, pins, entry });
    this.#complete(accepted, { success }, at);
  }

  #refusedLater(request: OperatorRequest, at: number): void {
    const accepted = this.#accept(request, at);
    this.#complete(accepted, { failure: { message: 'impossible' } }, at + 5);
  }

  #accept(request: OperatorRequest, at: number): number {
    const input = { name: OPERATE_UPDATE, args: payload(request) };
    return this.add(at + 3, {
      workflowExecutionUpdateAcceptedEventAttributes: { acceptedRequest: { input } },
    });
  }

  #complete(accepted: number, outcome: object, at: number): void {
    this.add(at + 3, {
      workflowExecutionUpdateCompletedEventAttributes: { acceptedEventId: long(accepted), outcome },
    });
  }

  #asOf(now: number): OperatorState {
    let { state } = this;
    for (let next = expire(state, now); next.entry; next = expire(state, now)) state = next.state;
    return state;
  }

  #adopt({ state, entry }: { state: OperatorState; entry: AuditEntry | null }): void {
    this.state = state;
    if (entry !== null) this.entries.push(entry);
  }
}

/** Stands for a Long of protobuf.js. */
function long(value: number): unknown {
  return { valueOf: () => value, toString: () => String(value) };
}
