// Owns the defaults: turns a document that has passed every check into a PipelineSpec.
import type {
  AggregateInput,
  AssignInput,
  LayerInput,
  MeasureInput,
  PipelineInput,
} from './input.ts';
import { parseSize } from './size.ts';
import type { AggregateStep, AssignStep, LayerSpec, Measure, PipelineSpec } from './types.ts';

export const DEFAULT_CRS = 'OGC:CRS84';
export const DEFAULT_POLICY = 'probe-first@3';
export const DEFAULT_MEMORY_BYTES: number = 2 * 2 ** 30;
export const DEFAULT_CHUNK_SECONDS = 2;
export const DEFAULT_LANES = 2;

/** Fills in defaults and turns sizes into bytes. The input must have passed every check. */
export function normalise(input: PipelineInput): PipelineSpec {
  const crs = input.source.crs ?? DEFAULT_CRS;
  const plan = input.plan ?? {};
  const limits = input.limits ?? {};
  return {
    apiVersion: 'tileloom/v1',
    kind: 'Pipeline',
    name: input.name,
    source: { dataset: input.source.dataset, crs, wrap: input.source.wrap ?? false },
    layers: Object.fromEntries(
      Object.entries(input.layers).map(([name, layer]) => [name, layerOf(layer, crs)]),
    ),
    steps: stepsOf(input),
    sink: {
      path: input.sink.path,
      rows: input.sink.rows ?? false,
      format: input.sink.format ?? 'arrow',
    },
    plan: {
      mode: plan.mode ?? 'auto',
      precision: plan.precision ?? 'auto',
      policy: plan.policy ?? DEFAULT_POLICY,
      ifImpossible: plan.ifImpossible ?? 'fail',
      cadence: plan.cadence ?? 'every-chunk',
      chunkSecondsTarget: plan.chunkSecondsTarget ?? DEFAULT_CHUNK_SECONDS,
      pins: (plan.pins ?? []).map((pin) => ({
        aspect: pin.aspect,
        value: pin.value,
        reason: pin.reason ?? 'declared in the spec',
        ifImpossible: pin.ifImpossible ?? 'hold',
      })),
    },
    limits: {
      memoryBytesMax:
        limits.memory === undefined
          ? DEFAULT_MEMORY_BYTES
          : (parseSize(limits.memory) ?? DEFAULT_MEMORY_BYTES),
      failedTiles: limits.failedTiles ?? 0,
      lanes: limits.lanes ?? DEFAULT_LANES,
      shards: limits.shards ?? null,
    },
  };
}

function layerOf(layer: LayerInput, sourceCrs: string): LayerSpec {
  return {
    file: layer.file,
    id: layer.id,
    object: layer.object ?? null,
    crs: layer.crs ?? sourceCrs,
    antimeridian: layer.antimeridian ?? 'reject',
    pole: layer.pole ?? {},
  };
}

function stepsOf(input: PipelineInput): PipelineSpec['steps'] {
  const [first, second] = input.steps as readonly {
    readonly assign?: AssignInput;
    readonly aggregate?: AggregateInput;
  }[];
  if (first?.assign === undefined) {
    throw new TypeError('normalise needs a checked spec: the first step is not an assign');
  }
  const assign: AssignStep = {
    kind: 'assign',
    layer: first.assign.layer,
    as: first.assign.as,
    boundary: first.assign.boundary ?? 'half-open',
    overlap: first.assign.overlap ?? 'first',
  };
  if (second?.aggregate === undefined) {
    return [assign];
  }
  const aggregate: AggregateStep = {
    kind: 'aggregate',
    by: second.aggregate.by,
    measures: second.aggregate.measures.map(measureOf),
  };
  return [assign, aggregate];
}

function measureOf(measure: MeasureInput): Measure {
  if (measure === 'count') {
    return { kind: 'count' };
  }
  const [kind, column] = Object.entries(measure)[0] ?? [];
  return { kind: kind as 'sum' | 'mean' | 'min' | 'max', column: String(column) };
}
