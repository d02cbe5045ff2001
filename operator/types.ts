// Owns what operators may ask of a run, the state that results, and the entry each change leaves.
// All of it is plain JSON: it rides in Updates, signals, workflow state and audit files.
import type { Pin, PinAspect, PinScope } from '../planner/index.ts';

/** Half-open range of tiles: firstTile ≤ t < endTile. */
export interface TileRange {
  readonly firstTile: number;
  readonly endTile: number;
}

/** Who asked for something, and why. */
export interface Origin {
  readonly by: string;
  readonly reason: string;
}

/** Operator state of a run: what lanes and plans must obey, under one monotone epoch. */
export interface OperatorState {
  readonly epoch: number;
  readonly pause: Pause | null;
  readonly pins: readonly Pin[];
  readonly limits: OperatorLimits;
  /** The last orders about parked tiles, oldest first; who follows them remembers the epoch. */
  readonly parkedOrders: readonly ParkedOrder[];
  readonly cancel: CancelOrder | null;
  /** Ids of the last requests that were accepted, oldest first: a request is applied once. */
  readonly recent: readonly { readonly id: string; readonly epoch: number }[];
}

export interface OperatorLimits {
  readonly lanes: number;
  readonly chunkSecondsTarget: number;
  readonly memoryBytesMax: number;
  readonly cadence: 'every-chunk' | number;
  readonly failedTiles: number;
}

/** `drain` finishes the chunks in flight; `now` cancels them at the next batch. */
export type PauseMode = 'drain' | 'now';

export interface Pause extends Origin {
  readonly mode: PauseMode;
  /** Epoch at which it was accepted: a shard that has reached it has acknowledged the pause. */
  readonly epoch: number;
  /** Milliseconds since the Unix epoch; `until` null: until somebody resumes. */
  readonly since: number;
  readonly until: number | null;
}

/** Orders about parked tiles: compute them again, or accept that they are left out. */
export interface ParkedOrder extends Origin {
  readonly kind: 'retry' | 'skip';
  readonly epoch: number;
  readonly select: ParkedSelection;
  /** Fixed for the retried tiles only; null: none. */
  readonly pin: { readonly aspect: PinAspect; readonly value: string | number } | null;
}

/** Which parked tiles are meant: those that meet both conditions; null: any. */
export interface ParkedSelection {
  readonly tiles: readonly TileRange[] | null;
  readonly fingerprint: string | null;
}

export interface CancelOrder extends Origin {
  readonly epoch: number;
  readonly at: number;
}

/** A pin as somebody asks for it; the run gives it an id and an epoch. */
export interface PinWish {
  readonly aspect: PinAspect;
  readonly value: string | number;
  readonly scope: PinScope;
  readonly ttlMs: number | null;
  /** Chunks of each shard that may start under it; null: any number. */
  readonly ttlChunks: number | null;
  readonly ifImpossible: 'hold' | 'fail';
  /** Accept a host that no worker serves at present. */
  readonly allowAbsent: boolean;
}

export type OperatorCommand =
  | { readonly verb: 'pause'; readonly mode: PauseMode; readonly ttlMs: number | null }
  | { readonly verb: 'resume' }
  | { readonly verb: 'cancel' }
  | { readonly verb: 'pin'; readonly pins: readonly PinWish[] }
  /** `ids` null: every pin. */
  | { readonly verb: 'unpin'; readonly ids: readonly string[] | null }
  | { readonly verb: 'limits'; readonly set: Partial<OperatorLimits> }
  | { readonly verb: 'retry'; readonly select: ParkedSelection; readonly pin: ParkedOrder['pin'] }
  | { readonly verb: 'skip'; readonly select: ParkedSelection };

export type OperatorVerb = OperatorCommand['verb'];

/** One request: the argument of the `operate` Update, and of the signal that stands in for it. */
export interface OperatorRequest extends Origin {
  readonly schema: 'tileloom.operator-request/1';
  /** Chosen by the client, and the update id, too: repeating a request does not repeat its effect. */
  readonly id: string;
  /** `cli`, `library`, … */
  readonly via: string;
  /** Milliseconds since the Unix epoch after which it must not be accepted any more; null: ever. */
  readonly notAfter: number | null;
  /** Refused unless the run's epoch is this one; null: whatever it is. */
  readonly expectedEpoch: number | null;
  readonly command: OperatorCommand;
}

/** Answer of an accepted request. */
export interface OperatorAnswer {
  readonly schema: 'tileloom.operator-answer/1';
  readonly epoch: number;
  /** False when the state was as asked for already; then nothing is recorded. */
  readonly changed: boolean;
  /** Ids of the pins that were set. */
  readonly pins: readonly string[];
  readonly entry: AuditEntry | null;
}

/** What one change of the operator state leaves for the audit. */
export interface AuditEntry extends Origin {
  readonly schema: 'tileloom.audit-entry/1';
  readonly epoch: number;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  readonly via: string;
  /** `start` for the state a run began with, `expire` when a time limit ended a pause or a pin. */
  readonly verb: OperatorVerb | 'start' | 'expire';
  readonly requestId: string | null;
  /** The parts of the state that changed; of pins only those that came, went or were replaced. */
  readonly before: Partial<AuditedState>;
  readonly after: Partial<AuditedState>;
}

export type AuditedState = Pick<
  OperatorState,
  'pause' | 'pins' | 'limits' | 'parkedOrders' | 'cancel'
>;

/** Why a request cannot be accepted: `code` is stable, `message` is for people. */
export interface Refusal {
  readonly code: RefusalCode;
  readonly message: string;
}

export type RefusalCode =
  | 'OPERATOR_REQUEST_INVALID'
  | 'OPERATOR_REQUEST_EXPIRED'
  | 'OPERATOR_CONFLICT'
  | 'OPERATOR_RUN_ENDING'
  | 'OPERATOR_PIN_UNKNOWN'
  | 'OPERATOR_PIN_IMPOSSIBLE'
  | 'OPERATOR_PINS_FULL'
  | 'OPERATOR_TILES_UNKNOWN'
  | 'OPERATOR_NOTHING_PARKED';

/** What a decision about a request depends on beside the state. */
export interface OperatorFacts {
  readonly nowMs: number;
  readonly phase: string;
  /** Tiles of the run; null before it is prepared. */
  readonly tiles: number | null;
}
