export { applyRequest, differenceOf, knownRequest, type Applied } from './apply.ts';
export { escapeControl } from './escape-control.ts';
export { expire, nextExpiryMs, type Expired } from './expiry.ts';
export { initialOperator } from './initial.ts';
export { ORDERS_MAX, PINS_MAX, REASON_CHARACTERS_MAX, TTL_MS_MAX } from './limits.ts';
export { pauseSentence } from './pause.ts';
export { samePlace } from './pins.ts';
export { refusalOf } from './refusal.ts';
export { reopen } from './reopen.ts';
export type {
  AuditEntry,
  AuditedState,
  CancelOrder,
  OperatorAnswer,
  OperatorCommand,
  OperatorFacts,
  OperatorLimits,
  OperatorRequest,
  OperatorState,
  OperatorVerb,
  Origin,
  ParkedOrder,
  ParkedSelection,
  Pause,
  PauseMode,
  PinWish,
  Refusal,
  RefusalCode,
  TileRange,
} from './types.ts';
