// Owns the operator state that a run begins with.
import type { Pin } from '../planner/index.ts';
import type { OperatorLimits, OperatorState } from './types.ts';

export function initialOperator(pins: readonly Pin[], limits: OperatorLimits): OperatorState {
  return { epoch: 0, pause: null, pins, limits, parkedOrders: [], cancel: null, recent: [] };
}
