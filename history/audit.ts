// Owns the audit of a run: every change of its operator state, read back from the run's own histories.
//
// I1. An answered request is taken from its answer, word for word; signals and expiries, which have no
//     answer, are applied again by the reducer that the run uses, over the same state at the same time.
// I2. Reads, refusals and requests that changed nothing leave no entry.
// I3. Events may come one by one: beside the entries only the state and open requests are in memory.
import {
  applyRequest,
  differenceOf,
  expire,
  refusalOf,
  type AuditEntry,
  type AuditedState,
  type OperatorAnswer,
  type OperatorRequest,
  type OperatorState,
} from '../operator/index.ts';
import type { HistorySource, LinkEvent } from './live.ts';
import { isNotFound } from './fetch.ts';
import { runWorkflowIdOf } from './names.ts';

/** The parts of a run's events that the audit is made of; Temporal's protobuf events fit. */
export interface AuditEvent {
  readonly eventId?: unknown;
  readonly eventTime?: { readonly seconds?: unknown; readonly nanos?: number | null } | null;
  readonly workflowExecutionStartedEventAttributes?: {
    readonly input?: Payloads;
    readonly continuedExecutionRunId?: string | null;
    readonly identity?: string | null;
  } | null;
  readonly workflowTaskStartedEventAttributes?: unknown;
  readonly workflowTaskCompletedEventAttributes?: unknown;
  readonly activityTaskScheduledEventAttributes?: {
    readonly activityType?: { readonly name?: string | null } | null;
  } | null;
  readonly workflowExecutionSignaledEventAttributes?: {
    readonly signalName?: string | null;
    readonly input?: Payloads;
  } | null;
  readonly workflowExecutionUpdateAcceptedEventAttributes?: {
    readonly acceptedRequest?: {
      readonly input?: { readonly name?: string | null; readonly args?: Payloads } | null;
    } | null;
  } | null;
  readonly workflowExecutionUpdateCompletedEventAttributes?: {
    readonly acceptedEventId?: unknown;
    readonly outcome?: { readonly success?: Payloads; readonly failure?: unknown } | null;
  } | null;
}

/** The parts of a RunInput that matter here. */
interface StartInput {
  readonly operator?: OperatorState;
  readonly carried?: unknown;
}

type AuditedParts = Partial<AuditedState>;

type Payloads =
  | { readonly payloads?: readonly { readonly data?: Uint8Array | null }[] | null }
  | null
  | undefined;

/** Names on the wire; this room may import types of workflows only, so a test holds them together. */
export const OPERATE_NAMES = { update: 'operate', signal: 'operateLater' } as const;

const PUBLISH_ACTIVITY = 'publishRun';

export interface Audit {
  /** By epoch. */
  readonly entries: readonly AuditEntry[];
  /** False when the first event that was there is not the run's first: older ones are forgotten. */
  readonly whole: boolean;
}

/** Folds the events of a run's executions, oldest first. */
export async function auditOf(
  events: AsyncIterable<AuditEvent> | Iterable<AuditEvent>,
): Promise<AuditEntry[]> {
  return [...(await readAudit(events)).entries];
}

/** As `auditOf`, and tells whether the histories were whole. */
export async function readAudit(
  events: AsyncIterable<AuditEvent> | Iterable<AuditEvent>,
): Promise<Audit> {
  const fold = new AuditFold();
  for await (const event of events) fold.push(event);
  return fold;
}

/**
 * Yields the events of all executions of a run that the service still knows, oldest first.
 *
 * @returns nothing when it knows none
 */
export async function* runEvents(source: HistorySource, runId: string): AsyncGenerator<LinkEvent> {
  for (const execution of await source.chain(runWorkflowIdOf(runId))) {
    try {
      yield* source.events(execution);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

class AuditFold implements Audit {
  readonly entries: AuditEntry[] = [];
  whole = true;
  #state: OperatorState | null = null;
  #phase = 'running';
  /** Time that the workflow saw: the start of the task in which it acted. */
  #taskStartedAt = 0;
  #nowMs = 0;
  #signals: OperatorRequest[] = [];
  readonly #accepted = new Map<number, OperatorRequest>();

  push(event: AuditEvent): void {
    if (event.workflowExecutionStartedEventAttributes) this.#start(event);
    else if (event.workflowTaskStartedEventAttributes) this.#taskStartedAt = timeOf(event);
    else if (event.workflowTaskCompletedEventAttributes) this.#act();
    else if (event.workflowExecutionSignaledEventAttributes) this.#signal(event);
    else if (event.workflowExecutionUpdateAcceptedEventAttributes) this.#accept(event);
    else if (event.workflowExecutionUpdateCompletedEventAttributes) this.#complete(event);
    else if (event.activityTaskScheduledEventAttributes?.activityType?.name === PUBLISH_ACTIVITY) {
      this.#phase = 'publishing';
    }
  }

  #start(event: AuditEvent): void {
    const started = event.workflowExecutionStartedEventAttributes;
    const input = decode(started?.input) as StartInput | null;
    if (input?.operator === undefined) return;
    const continued = (started?.continuedExecutionRunId ?? '') !== '';
    const { operator: state } = input;
    if (this.#state === null) {
      this.whole = (input.carried ?? null) === null;
      this.entries.push(startEntry(event, null, state));
    } else if (continued) this.#continue(state);
    else if (state.epoch > this.#state.epoch) {
      this.entries.push(startEntry(event, this.#state, state));
    }
    this.#state = state;
    this.#phase = 'running';
    this.#signals = [];
    this.#accepted.clear();
  }

  /** What the last execution had not noticed to be over, the next one ends. */
  #continue({ epoch }: OperatorState): void {
    const last = (): AuditEntry | undefined => this.entries.at(-1);
    while (last()?.verb === 'expire' && (last()?.epoch ?? 0) > epoch) this.entries.pop();
  }

  /** The workflow acts when a task completes: on what came before the task began. */
  #act(): void {
    this.#nowMs = this.#taskStartedAt;
    this.#expire(this.#nowMs);
    const requests = this.#signals;
    this.#signals = [];
    for (const request of requests) this.#applySignal(request);
  }

  #signal(event: AuditEvent): void {
    const { signalName, input } = event.workflowExecutionSignaledEventAttributes ?? {};
    if (signalName !== OPERATE_NAMES.signal) return;
    this.#signals.push(decode(input) as OperatorRequest);
  }

  #applySignal(request: OperatorRequest): void {
    const facts = { nowMs: this.#nowMs, phase: this.#phase, tiles: null };
    if (this.#state === null || refusalOf(this.#state, request, facts) !== null) return;
    if (request.command.verb !== 'pause' && request.command.verb !== 'resume') return;
    const { state, entry } = applyRequest(this.#state, request, facts);
    this.#state = state;
    if (entry !== null) this.entries.push(entry);
  }

  #accept(event: AuditEvent): void {
    const input = event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input;
    if (input?.name !== OPERATE_NAMES.update) return;
    this.#accepted.set(Number(event.eventId), decode(input.args) as OperatorRequest);
  }

  #complete(event: AuditEvent): void {
    const completed = event.workflowExecutionUpdateCompletedEventAttributes;
    const acceptedEventId = Number(completed?.acceptedEventId);
    const request = this.#accepted.get(acceptedEventId);
    this.#accepted.delete(acceptedEventId);
    const answer = decode(completed?.outcome?.success) as OperatorAnswer | null;
    if (request === undefined || answer === null || this.#state === null) return;
    const at = answer.entry?.at ?? this.#nowMs;
    this.#expire(at);
    const facts = { nowMs: at, phase: this.#phase, tiles: null };
    const { state } = applyRequest(this.#state, request, facts);
    this.#state = answer.entry === null ? state : { ...state, epoch: answer.entry.epoch };
    if (answer.entry !== null) this.entries.push(answer.entry);
  }

  #expire(nowMs: number): void {
    while (this.#state !== null) {
      const { state, entry } = expire(this.#state, nowMs);
      if (entry === null) return;
      this.#state = state;
      this.entries.push(entry);
    }
  }
}

/**
 * The entry of an execution that nobody continued: the run's first, or one that retries or skips what
 * the last one left. Who asked for the latter is in its newest order.
 *
 * @param before null: not known, or none
 */
function startEntry(
  event: AuditEvent,
  before: OperatorState | null,
  state: OperatorState,
): AuditEntry {
  const order = state.parkedOrders.at(-1);
  const ordered = order?.epoch === state.epoch ? order : null;
  const identity = event.workflowExecutionStartedEventAttributes?.identity ?? '';
  return {
    schema: 'tileloom.audit-entry/1',
    epoch: state.epoch,
    at: timeOf(event),
    by: ordered?.by ?? identity,
    via: 'start',
    verb: ordered?.kind ?? 'start',
    reason: ordered?.reason ?? '',
    requestId: ordered === null ? null : (state.recent.at(-1)?.id ?? null),
    ...(before === null ? { before: {}, after: presentParts(state) } : differenceOf(before, state)),
  };
}

function presentParts({ pause, pins, limits, parkedOrders, cancel }: OperatorState): AuditedParts {
  return {
    limits,
    ...(pins.length > 0 ? { pins } : {}),
    ...(pause === null ? {} : { pause }),
    ...(parkedOrders.length > 0 ? { parkedOrders } : {}),
    ...(cancel === null ? {} : { cancel }),
  };
}

/** The JSON of the first payload; null when there is none, or none that can be read. */
function decode(list: Payloads): unknown {
  const data = list?.payloads?.[0]?.data;
  return data && data.length > 0 ? parsed(new TextDecoder().decode(data)) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function timeOf({ eventTime }: AuditEvent): number {
  return Number(eventTime?.seconds ?? 0) * 1000 + Math.floor((eventTime?.nanos ?? 0) / 1e6);
}
