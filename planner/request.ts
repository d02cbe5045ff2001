// Owns how a plan request and what only the host knows become the whole PlanInput. The activity that
// plans and whoever replays its record from history go the same way.
import type { TelemetrySnapshot } from '../telemetry/index.ts';
import { resolvePins } from './pins.ts';
import { isResidentHere } from './residency.ts';
import type { Pin, PlanInput, PlanRequest, RequestPin } from './types.ts';

/**
 * Completes a request with the answer's snapshot, policy and registry. The work is resident on a device
 * where a GPU in service holds its layer's index, which only the snapshot tells.
 */
export function completeRequest(
  request: PlanRequest,
  snapshot: TelemetrySnapshot,
  identity: Pick<PlanInput, 'policy' | 'registry'>,
): PlanInput {
  const { policyId: _, pins, excluded, ...rest } = request;
  const { where, work } = request;
  return {
    ...rest,
    work: isResidentHere(snapshot, work) ? { ...work, residency: 'device' } : work,
    pins: resolvePins(pins.map(wholePin), where, work, snapshot.takenAt),
    excluded: excluded.map((exclusion) => ({ ...exclusion, host: snapshot.host })),
    snapshot,
    policy: identity.policy,
    registry: identity.registry,
  };
}

function wholePin(pin: RequestPin): Pin {
  return {
    scope: { kind: 'run' },
    reason: '',
    author: '',
    expiresAt: null,
    chunksLeft: null,
    ifImpossible: 'hold',
    ...pin,
  };
}
