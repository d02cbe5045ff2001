export { executionChain, fetchEvents, fetchLines, type ExecutionRef } from './fetch.ts';
export {
  LineReader,
  type ExecuteLine,
  type HistoryEvent,
  type HistoryLine,
  type PlanLine,
} from './plan-lines.ts';
