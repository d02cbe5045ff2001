// Owns the translation of one execution's history into plan lines: what was asked of plan and execute,
// what they answered. Pure: events in, lines out, in the order in which the activities closed.
//
// A plan's scheduled arguments plus its answer are the whole PlanInput and Plan; an execute line cites
// its plan by planId. Payloads are JSON as the default converter writes them.
import type {
  ExecuteAnswer,
  ExecuteOrder,
  FailureDetails,
  PlanAnswer,
  PlanCall,
} from '../workflows/activity-contract.ts';

interface LineBase {
  readonly schema: 'tileloom.plan-line/1';
  readonly workflowId: string;
  readonly runId: string;
  /** Id of the event that closed the activity. */
  readonly eventId: number;
  readonly activityId: string;
  /** Milliseconds since the Unix epoch at which it was scheduled and closed. */
  readonly scheduledAt: number;
  readonly closedAt: number;
  /** Null when it succeeded. */
  readonly failure: LineFailure | null;
}

export interface LineFailure {
  readonly type: string;
  readonly message: string;
  /** What the failure itself knows of its cause; absent where it does not. */
  readonly code?: string;
  readonly tile?: number;
  readonly input?: string;
  readonly fingerprint?: string;
}

export interface PlanLine extends LineBase {
  readonly kind: 'plan';
  readonly call: PlanCall;
  readonly answer: PlanAnswer | null;
}

export interface ExecuteLine extends LineBase {
  readonly kind: 'execute';
  readonly order: ExecuteOrder;
  readonly answer: ExecuteAnswer | null;
}

export type HistoryLine = PlanLine | ExecuteLine;

/** The parts of a history event that lines are made of; Temporal's protobuf events fit. */
export interface HistoryEvent {
  readonly eventId?: unknown;
  readonly eventTime?: { readonly seconds?: unknown; readonly nanos?: number | null } | null;
  readonly activityTaskScheduledEventAttributes?: {
    readonly activityId?: string | null;
    readonly activityType?: { readonly name?: string | null } | null;
    readonly input?: PayloadList | null;
  } | null;
  readonly activityTaskCompletedEventAttributes?:
    | (Closing & {
        readonly result?: PayloadList | null;
      })
    | null;
  readonly activityTaskFailedEventAttributes?: Closing | null;
  readonly activityTaskTimedOutEventAttributes?: Closing | null;
  readonly activityTaskCanceledEventAttributes?: Closing | null;
}

interface PayloadList {
  readonly payloads?: readonly { readonly data?: Uint8Array | null }[] | null;
}

type Closing = {
  readonly scheduledEventId?: unknown;
  readonly failure?: WireFailure | null;
} | null;

interface WireFailure {
  readonly message?: string | null;
  readonly applicationFailureInfo?: {
    readonly type?: string | null;
    readonly details?: PayloadList | null;
  } | null;
  readonly timeoutFailureInfo?: unknown;
  readonly cause?: WireFailure | null;
}

interface Scheduled {
  readonly kind: 'plan' | 'execute';
  readonly activityId: string;
  readonly scheduledAt: number;
  readonly input: unknown;
}

/** Turns one execution's events, given in order, into lines. */
export class LineReader {
  readonly #workflowId: string;
  readonly #runId: string;
  readonly #open = new Map<number, Scheduled>();
  #lastEventId = 0;

  constructor(workflowId: string, runId: string) {
    this.#workflowId = workflowId;
    this.#runId = runId;
  }

  get lastEventId(): number {
    return this.#lastEventId;
  }

  /** @returns the line that the event closes, or null */
  push(event: HistoryEvent): HistoryLine | null {
    this.#lastEventId = Number(event.eventId);
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) {
      const kind = scheduled.activityType?.name;
      if (kind !== 'plan' && kind !== 'execute') return null;
      this.#open.set(this.#lastEventId, {
        kind,
        activityId: scheduled.activityId ?? '',
        scheduledAt: timeOf(event),
        input: decode(scheduled.input),
      });
      return null;
    }
    const completed = event.activityTaskCompletedEventAttributes;
    if (completed) return this.#close(event, completed, decode(completed.result), null);
    const failed =
      event.activityTaskFailedEventAttributes ??
      event.activityTaskTimedOutEventAttributes ??
      event.activityTaskCanceledEventAttributes;
    return failed ? this.#close(event, failed, null, failureOf(event)) : null;
  }

  #close(
    event: HistoryEvent,
    closing: NonNullable<Closing>,
    answer: unknown,
    failure: LineBase['failure'],
  ): HistoryLine | null {
    const scheduledEventId = Number(closing.scheduledEventId);
    const scheduled = this.#open.get(scheduledEventId);
    if (scheduled === undefined) return null;
    this.#open.delete(scheduledEventId);
    const base: LineBase = {
      schema: 'tileloom.plan-line/1',
      workflowId: this.#workflowId,
      runId: this.#runId,
      eventId: this.#lastEventId,
      activityId: scheduled.activityId,
      scheduledAt: scheduled.scheduledAt,
      closedAt: timeOf(event),
      failure,
    };
    return scheduled.kind === 'plan'
      ? {
          ...base,
          kind: 'plan',
          call: scheduled.input as PlanCall,
          answer: answer as PlanAnswer | null,
        }
      : {
          ...base,
          kind: 'execute',
          order: scheduled.input as ExecuteOrder,
          answer: answer as ExecuteAnswer | null,
        };
  }
}

function decode(list: PayloadList | null | undefined): unknown {
  const data = list?.payloads?.[0]?.data;
  // A void result has no data; the protobuf default for it is an empty array.
  return data && data.length > 0 ? (JSON.parse(new TextDecoder().decode(data)) as unknown) : null;
}

function timeOf(event: HistoryEvent): number {
  const { seconds, nanos } = event.eventTime ?? {};
  return Number(seconds ?? 0) * 1000 + Math.floor((nanos ?? 0) / 1e6);
}

function failureOf(event: HistoryEvent): LineFailure {
  if (event.activityTaskCanceledEventAttributes) {
    return { type: 'CANCELLED', message: 'the activity was cancelled' };
  }
  const wire =
    event.activityTaskFailedEventAttributes?.failure ??
    event.activityTaskTimedOutEventAttributes?.failure;
  const type =
    wire?.applicationFailureInfo?.type ?? (wire?.timeoutFailureInfo ? 'TIMEOUT' : 'FAILED');
  return { type, message: wire?.message ?? '', ...detailsOf(wire) };
}

/** The known fields of FailureDetails; whatever else a failure carries stays in its history. */
function detailsOf(wire: WireFailure | null | undefined): Omit<LineFailure, 'type' | 'message'> {
  let details: unknown;
  try {
    details = decode(wire?.applicationFailureInfo?.details);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (typeof details !== 'object' || details === null) return {};
  const { code, tile, input, fingerprint } = details as Partial<FailureDetails>;
  return {
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof tile === 'number' ? { tile } : {}),
    ...(typeof input === 'string' ? { input } : {}),
    ...(typeof fingerprint === 'string' ? { fingerprint } : {}),
  };
}
