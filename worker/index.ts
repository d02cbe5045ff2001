export { WorkerError, type WorkerErrorCode } from './errors.ts';
export { startWorker, type RunningWorker, type StartWorkerOptions } from './worker.ts';
export { workflowBundlePath } from './workflow-bundle.ts';
