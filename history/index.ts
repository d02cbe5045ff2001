export { auditOf, readAudit, runEvents, type Audit, type AuditEvent } from './audit.ts';
export { AUDIT_FILE, auditText, sealedAudit } from './sealed-audit.ts';
export { HistoryError, type HistoryErrorCode } from './errors.ts';
export {
  EXPORT_SCHEMA,
  readExport,
  writeExport,
  type ExportHeader,
  type ReadExport,
} from './export.ts';
export { executionChain, fetchEvents, fetchLines, isNotFound, type ExecutionRef } from './fetch.ts';
export {
  inputOf,
  joinRecords,
  WAITING_MAX,
  type JoinOptions,
  type PlanOutcome,
  type PlanRecord,
} from './join.ts';
export {
  begunShards,
  serviceHistory,
  shardLines,
  type BegunShard,
  type HistorySource,
  type LinkEvent,
} from './live.ts';
export {
  LineReader,
  type ExecuteLine,
  type HistoryEvent,
  type HistoryLine,
  type LineFailure,
  type PlanLine,
} from './plan-lines.ts';
export { runWorkflowIdOf, shardOfWorkflow } from './names.ts';
export { runLines, type LineOrigin } from './run-lines.ts';
export {
  sealedLines,
  sealedShards,
  storedRecipes,
  type SealedShard,
  type StoredRecipes,
} from './sealed.ts';
