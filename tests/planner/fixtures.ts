// Owns plan inputs for tests: a quiet two-core AVX2 host with counties-like work, changed by need.
import {
  DEFAULT_POLICY_ID,
  policyById,
  plan,
  type Plan,
  type PlanDecision,
  type PlanInput,
  type PlanRefusal,
  type Pin,
  type WorkloadProfile,
} from '../../planner/index.ts';
import { REGISTRY, makeRegistry, type Registry, type VariantSpec } from '../../registry/index.ts';
import type { DeviceSnapshot, TelemetrySnapshot } from '../../telemetry/index.ts';

export const GIB = 1024 ** 3;

export const CPU: DeviceSnapshot = {
  deviceId: 'cpu',
  kind: 'cpu',
  name: 'AMD EPYC',
  deviceClass: 'cpu-avx2',
  utilizationPct: 20,
  memTotalBytes: 16 * GIB,
  memFreeBytes: 12 * GIB,
  fp64Ratio: 1,
  temperatureC: null,
  throttled: null,
  slotsBusy: 0,
  slots: 1,
  quarantine: null,
};

/** A data-centre GPU: fp64 at half the speed of fp32, half busy. */
export const GPU: DeviceSnapshot = {
  ...CPU,
  deviceId: 'GPU-1',
  kind: 'gpu',
  name: 'H200',
  deviceClass: 'gpu-sm90',
  utilizationPct: 60,
  memTotalBytes: 128 * GIB,
  memFreeBytes: 100 * GIB,
  fp64Ratio: 0.5,
};

export const SNAPSHOT: TelemetrySnapshot = {
  host: 'host-1',
  bootId: 'boot-1',
  takenAt: 1_700_000_000_000,
  ageMs: 0,
  backend: 'unavailable',
  reason: 'no libnvidia-ml.so.1 on this host',
  cores: 2,
  load1: 0.5,
  memAvailableBytes: 12 * GIB,
  memLimitBytes: 16 * GIB,
  isa: ['sse4_2', 'popcnt', 'avx', 'f16c', 'fma', 'bmi1', 'bmi2', 'avx2'],
  devices: [CPU],
};

export const GPU_SNAPSHOT: TelemetrySnapshot = {
  ...SNAPSHOT,
  backend: 'nvml',
  reason: null,
  devices: [CPU, GPU],
};

export const WORK: WorkloadProfile = {
  operation: 'assign',
  kernelClass: 'predicate',
  boundary: 'half-open',
  overlap: 'first',
  rows: 1_048_576,
  remainingRows: 200_000_000,
  tileRows: 65_536,
  families: ['polygon', 'multipolygon'],
  mixed: true,
  features: 3_231,
  vertices: 190_000,
  meanVertices: 59,
  shape: 'pairwise',
  residency: 'host',
  bytesPerRow: 24,
  bytesOutPerRow: 0,
  indexBytes: 38_100_000,
  streaming: true,
  chunkIndex: 0,
  ordered: true,
  measures: 1,
  maxAbsCoordinate: 180,
  coordinateSpan: 360,
  workUnits: null,
};

export interface InputChanges extends Partial<Omit<PlanInput, 'work' | 'where' | 'limits'>> {
  readonly work?: Partial<WorkloadProfile>;
  readonly where?: Partial<PlanInput['where']>;
  readonly limits?: Partial<PlanInput['limits']>;
  readonly policyId?: string;
}

/** A complete input; every group may be changed in part. */
export function makeInput(changes: InputChanges = {}, registry: Registry = REGISTRY): PlanInput {
  const { work, where, limits, policyId, ...rest } = changes;
  const policy = policyById(policyId ?? DEFAULT_POLICY_ID);
  return {
    schema: 'tileloom.plan-input/1',
    requested: { mode: 'auto', precision: 'auto' },
    pins: { winners: [], losers: [] },
    excluded: [],
    previous: null,
    history: { schema: 'tileloom.history/1', entries: [] },
    snapshot: SNAPSHOT,
    policy: { id: policy.id, digest: policy.digest },
    registry: { digest: registry.digest },
    ...rest,
    where: {
      runId: 'run-1',
      shard: 0,
      chunk: 0,
      firstTile: 0,
      reservedTiles: 16,
      attempt: 1,
      epoch: 1,
      ...where,
    },
    work: { ...WORK, ...work },
    limits: { memoryBytesMax: 2 * GIB, chunkSecondsTarget: 2, chunkRowsMax: null, ...limits },
  };
}

/** Plans with the policy the input names. */
export function decide(input: PlanInput, registry: Registry = REGISTRY): PlanDecision {
  return plan(input, policyById(input.policy.id), registry);
}

/** Plans and expects a plan. */
export function planned(input: PlanInput, registry: Registry = REGISTRY): Plan {
  const decision = decide(input, registry);
  if (decision.schema !== 'tileloom.plan/1') {
    throw new Error(`refused: ${JSON.stringify(decision)}`);
  }
  return decision;
}

/** Plans and expects a refusal. */
export function refused(input: PlanInput, registry: Registry = REGISTRY): PlanRefusal {
  const decision = decide(input, registry);
  if (decision.schema !== 'tileloom.plan-refusal/1') {
    throw new Error(`planned: ${JSON.stringify(decision)}`);
  }
  return decision;
}

export function codesOf(decision: PlanDecision): readonly string[] {
  return decision.reasons.map((given) => given.code);
}

export function rejectsOf(decision: PlanDecision): Readonly<Record<string, string | null>> {
  return Object.fromEntries(
    decision.candidates.map((candidate) => [candidate.variant, candidate.reject ?? null]),
  );
}

export function makePin(changes: Partial<Pin> & Pick<Pin, 'aspect' | 'value'>): Pin {
  return {
    id: `pin-${changes.aspect}`,
    scope: { kind: 'run' },
    reason: 'test',
    author: 'tester',
    epoch: 1,
    expiresAt: null,
    chunksLeft: null,
    ifImpossible: 'hold',
    ...changes,
  };
}

export function pinned(...pins: readonly Pin[]): Pick<PlanInput, 'pins'> {
  return { pins: { winners: pins, losers: [] } };
}

const TEMPLATE = REGISTRY.operations[0]?.variants[0] as VariantSpec;

/** A variant of operation `test` with neutral metadata. */
export function makeVariant(
  changes: Partial<VariantSpec> & Pick<VariantSpec, 'name'>,
): VariantSpec {
  return {
    ...TEMPLATE,
    operation: 'test',
    id: `test/${changes.name}@1`,
    geometryFamilies: [],
    preferredResidency: null,
    precisionModes: ['fp32', 'fp64'],
    isa: [],
    tags: [],
    ...changes,
  };
}

/** A registry whose only operation, `test`, has the given variants. */
export function testRegistry(
  variants: readonly VariantSpec[],
  kernelClass: VariantSpec['kernelClass'] = 'predicate',
): Registry {
  const operation = { name: 'test', summary: 'Test.', kernelClass, crossover: null, variants };
  return makeRegistry([operation], 1);
}
