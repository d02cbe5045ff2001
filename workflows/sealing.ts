// Owns the seal chain of a shard: at most one seal at a time, each part in one segment, and a
// segment that names its predecessor. Seals are never cancelled: what was computed is kept.
import { CancellationScope, workflowInfo } from '@temporalio/workflow';
import type { ParkedTile, SealRequest } from './activity-contract.ts';
import { failureOf } from './errors.ts';
import type { RunFailure, RunFailureCode } from './messages.ts';
import { persist } from './persist.ts';
import { loseParts, type ShardState, type UnsealedPart } from './shard-state.ts';

/** Parked tiles in one seal: with all their messages they stay far below 64 KiB. */
const SEAL_PARKED_MAX = 32;

/** Seals in a row that lost parts before the run gives up on the sink. */
const LOSSES_MAX = 5;

export interface Sealer {
  /** Starts a seal in the background when enough parts wait for it. */
  sealWhenDue(): void;
  /** Seals until each tile that is parked is named by a segment. */
  sealParked(): Promise<void>;
  /** Seals everything; resolves when no part, parked tile or plan record is left unsealed. */
  sealAll(): Promise<void>;
}

export interface SealerPort {
  readonly fail: (failure: RunFailure) => void;
  readonly waiting: (sentence: string | null) => void;
}

export function createSealer(shard: ShardState, port: SealerPort): Sealer {
  let running: Promise<void> | null = null;
  let lossesInRow = 0;
  let broken = false;

  const sealOnce = async (): Promise<void> => {
    const parts = shard.unsealed.slice(0, shard.input.tuning.sealPartsMax);
    const parked = shard.parkedUnsealed.slice(0, SEAL_PARKED_MAX);
    const plans = shard.plansUnsealed;
    const request = requestOf(shard, parts, parked);
    const names = {
      id: `seal/${shard.segments}`,
      summary: `seal ${parts.length} parts of shard ${shard.input.progress.shard}`,
      waiting: port.waiting,
      hurry: () => shard.stop === 'cancel' || shard.stop === 'fail',
    };
    const answer = await persist(names, (io) => io.sealSegment(request));
    shard.unsealed = shard.unsealed.slice(parts.length);
    shard.parkedUnsealed = shard.parkedUnsealed.slice(parked.length);
    shard.plansUnsealed -= plans;
    shard.head = answer.segment;
    shard.segments += 1;
    shard.exportFrom = request.workflow.throughEventId + 1;
    loseParts(shard, parts, answer.lost);
    lossesInRow = answer.lost.length === 0 ? 0 : lossesInRow + 1;
    if (lossesInRow >= LOSSES_MAX) {
      const code: RunFailureCode = 'RUN_PARTS_LOST';
      port.fail({ code, message: lossSentence(shard, lossesInRow) });
    }
  };

  const start = (): Promise<void> => {
    running ??= CancellationScope.nonCancellable(sealOnce)
      .catch((error: unknown) => {
        broken = true;
        // Somebody who cancels gets a cancelled run; what is not sealed is computed again by a retry.
        if (shard.stop !== 'cancel') port.fail(failureOf(error, 'RUN_ACTIVITY_FAILED'));
      })
      .finally(() => {
        running = null;
      });
    return running;
  };

  return {
    sealWhenDue: () => {
      const parts = shard.unsealed.length >= shard.input.tuning.sealPartsMax;
      const parked = shard.parkedUnsealed.length >= SEAL_PARKED_MAX;
      if (!broken && (parts || parked)) void start();
    },
    sealParked: async () => {
      if (running !== null) await running;
      while (!broken && shard.parkedUnsealed.length > 0) await start();
    },
    sealAll: async () => {
      if (running !== null) await running;
      while (!broken && isUnsealed(shard)) await start();
    },
  };
}

function isUnsealed(shard: ShardState): boolean {
  return shard.unsealed.length > 0 || shard.parkedUnsealed.length > 0 || shard.plansUnsealed > 0;
}

function requestOf(
  shard: ShardState,
  parts: readonly UnsealedPart[],
  parked: readonly ParkedTile[],
): SealRequest {
  const { runId, prepared, progress } = shard.input;
  const info = workflowInfo();
  return {
    runId,
    contextPath: prepared.contextPath,
    contextDigest: prepared.contextDigest,
    shard: progress.shard,
    sequence: shard.segments,
    parts: parts.map(({ answer }) => answer.part),
    parked,
    previous: shard.head,
    workflow: {
      id: info.workflowId,
      runId: info.runId,
      fromEventId: shard.exportFrom,
      throughEventId: info.historyLength,
    },
  };
}

function lossSentence(shard: ShardState, losses: number): string {
  const { shard: index } = shard.input.progress;
  return `shard ${index} lost parts between writing and sealing: expected every part to verify, got losses in ${losses} seals in a row; check the disk under the sink`;
}
