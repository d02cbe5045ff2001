// Owns what a job is told when its executor process ended under it (docs/decisions/0004).
import { ExecutorError } from './errors.ts';
import type { ChunkJob } from './protocol.ts';

/** Why a child was killed by its client, and for which job. */
export interface Culprit {
  /** Null: several jobs had calls on the device that was lost, and nobody is blamed. */
  readonly jobId: string | null;
  readonly code: 'EXECUTOR_HUNG' | 'CHUNK_CANCELLED' | 'DEVICE_LOST';
  /** For EXECUTOR_HUNG how long it stood still; for DEVICE_LOST what the device said. */
  readonly why: string;
}

export interface LostJob {
  readonly job: ChunkJob;
  readonly isCancelled: boolean;
  readonly culprit: Culprit | null;
  /** How the process ended. */
  readonly ending: string;
  readonly signal: NodeJS.Signals | null;
  /** Whether nobody may be blamed for the ending itself. */
  readonly isBlameless: boolean;
}

/** Judges one job of an executor that has ended. */
export function verdictOf(lost: LostJob): ExecutorError {
  const { job, culprit, ending } = lost;
  const where = `chunk ${job.firstTile}-${job.endTile - 1} with ${job.variant}`;
  if (lost.isCancelled) return cancelled(job);
  if (culprit?.jobId === job.jobId) {
    const message =
      culprit.code === 'DEVICE_LOST'
        ? `${where} lost its device: ${culprit.why}; its executor is replaced and the variant excluded on this device`
        : `${where} made no progress: expected some within ${culprit.why}; its executor was killed`;
    return new ExecutorError('KERNEL_FAULT', culprit.code, message);
  }
  if (lost.isBlameless) {
    return new ExecutorError(
      'RESIDENCY_LOST',
      'EXECUTOR_BYSTANDER',
      `${where} was lost when its executor ended with ${ending}; it will be planned again`,
      { retryable: true },
    );
  }
  if (lost.signal === 'SIGKILL') {
    return new ExecutorError(
      'OUT_OF_MEMORY',
      'EXECUTOR_KILLED',
      `${where} ended when its executor was killed with SIGKILL, as the system does when memory runs out; a smaller chunk will be tried`,
    );
  }
  return new ExecutorError(
    'KERNEL_FAULT',
    'EXECUTOR_CRASHED',
    `${where} crashed its executor with ${ending}; the variant is excluded on this device`,
  );
}

export function cancelled(job: ChunkJob): ExecutorError {
  return new ExecutorError(
    'CANCELLED',
    'CHUNK_CANCELLED',
    `chunk ${job.firstTile}-${job.endTile - 1} was cancelled`,
  );
}
