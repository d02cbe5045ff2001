// Owns the choice between devices where nobody forces one: every runtime is screened, the one that is
// done first wins, and what was never measured is probed once.
//
// I1. A probe replaces the winner only where the winner was measured: else the winner is a probe itself.
//     One that its reservation cut to less than half is made again, once there is room for all of it.
// I2. No probe while a device of that class is busy or may be: somebody may be probing it.
import { findHistory, shapeBucket } from '../telemetry/index.ts';
import { bestOf, type Admitted, type Screening, type ScreeningRequest } from './candidates.ts';
import { horizonRows, ownSeconds, probeRowsOf, uploadShare, type Placement } from './finishing.ts';
import type { PlacementPolicy, PolicyData } from './policy.ts';
import { reason } from './reasons.ts';
import type { PlanInput, Reason } from './types.ts';

/** Candidates of the CPU variants from one screening, of the GPU variants from the other. */
export function mergedScreening(
  { variants }: Pick<ScreeningRequest, 'variants'>,
  cpu: Screening,
  gpu: Screening,
): Screening {
  const of = { cpu, gpu };
  return {
    candidates: variants.flatMap(
      ({ id, runtime }) => of[runtime].candidates.find(({ variant }) => variant === id) ?? [],
    ),
    admitted: [...cpu.admitted, ...gpu.admitted],
  };
}

export interface Winner {
  readonly chosen: Admitted | null;
  /** Why it and not another, where the score does not say it. */
  readonly because: Reason | null;
}

/** The admitted variant that is done first, or a probe of one that was never measured. */
export function winnerOf(
  policy: PolicyData,
  placement: PlacementPolicy,
  input: PlanInput,
  { admitted }: Screening,
): Winner {
  const best = bestOf(admitted);
  if (best?.placed === undefined) {
    return { chosen: best, because: null };
  }
  const bestSeconds = ownSeconds(best.placed, horizonRows(input));
  if (best.rate.source === 'history') {
    const due = admitted.filter((each) =>
      isProbeDue(policy, placement, input, each, best, admitted),
    );
    const probe = bestOf(due);
    if (probe?.placed !== undefined) {
      const times = ownSeconds(probe.placed, horizonRows(input)) / bestSeconds;
      const params = {
        variant: probe.variant.id,
        deviceClass: probe.device.deviceClass,
        times: Math.round(times * 100) / 100,
        best: best.variant.id,
      };
      return { chosen: { ...probe, probing: true }, because: reason('PROBE_DUE', params) };
    }
  }
  return { chosen: best, because: comparison(input, best, admitted) };
}

/**
 * Whether a variant that was never measured here deserves a probe beside the measured best one.
 *
 * On a CPU one measured variant stands for all: their declared speeds are of one kind. Hopeless is what
 * by declaration takes `hopelessFactor` times as long for all that remains.
 */
function isProbeDue(
  policy: PolicyData,
  placement: PlacementPolicy,
  input: PlanInput,
  candidate: Admitted,
  best: Admitted,
  admitted: readonly Admitted[],
): boolean {
  const { device, placed } = candidate;
  if (placed === undefined || best.placed === undefined || device === best.device) {
    return false;
  }
  const wantedRows = probeRowsOf(policy, candidate);
  const isIdle = input.snapshot.devices.every(
    ({ deviceClass, slotsBusy }) => deviceClass !== device.deviceClass || slotsBusy === 0,
  );
  if (!isIdle || isKnown(input, candidate, admitted, wantedRows)) {
    return false;
  }
  const remaining = horizonRows(input);
  const bestSeconds = ownSeconds(best.placed, remaining);
  const probeRows = Math.min(input.work.rows, wantedRows);
  return (
    ownSeconds(placed, remaining) <= placement.hopelessFactor * bestSeconds &&
    ownSeconds(placed, probeRows) <= placement.probeShareMax * bestSeconds
  );
}

/** Whether a variant was measured on that class of device, or failed there, or cannot be measured better now. */
function isKnown(
  { history, work }: PlanInput,
  { variant, device }: Admitted,
  admitted: readonly Admitted[],
  wantedRows: number,
): boolean {
  const shape = shapeBucket(work);
  const peers = device.kind === 'gpu' ? [variant] : admitted.map((each) => each.variant);
  const entries = peers.flatMap(
    ({ id }) => findHistory(history, id, device.deviceClass, shape) ?? [],
  );
  const isWhole = entries.some(
    ({ rows, rowsPerSecond }) => rowsPerSecond === null || rows * 2 >= wantedRows,
  );
  return isWhole || (entries.length > 0 && work.rows < wantedRows);
}

/** Says how the winner compares with the best one of another variant or device. */
function comparison(
  input: PlanInput,
  best: Admitted,
  admitted: readonly Admitted[],
): Reason | null {
  const next = bestOf(admitted.filter((each) => each !== best));
  if (best.placed === undefined || next?.placed === undefined) {
    return null;
  }
  const seconds = microseconds(waitingSeconds(best.placed, input));
  const nextSeconds = microseconds(waitingSeconds(next.placed, input));
  const params = { variant: best.variant.id, seconds, next: next.variant.id, nextSeconds };
  return reason(seconds <= nextSeconds ? 'DONE_FIRST' : 'DEVICE_KEPT', params);
}

/** As the score counts: the upload by its share, and the wait for what runs there. */
function waitingSeconds(placed: Placement, input: PlanInput): number {
  const rows = Math.max(1, input.work.rows);
  const uploadSeconds = placed.uploadSeconds * uploadShare(input);
  return ownSeconds({ ...placed, uploadSeconds }, rows) * placed.busyFactor;
}

function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}
