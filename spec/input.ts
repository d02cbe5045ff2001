// Owns the pipeline spec as people write it (YAML, JSON or `definePipeline()`), before defaults.
import type { BoundaryRule, OverlapRule } from '../registry/index.ts';
import type { PinAspect, RequestedMode, RequestedPrecision } from '../planner/index.ts';

export interface SourceInput {
  readonly dataset: string;
  readonly crs?: string | undefined;
  readonly wrap?: boolean | undefined;
}

export interface LayerInput {
  readonly file: string;
  readonly id: string;
  readonly object?: string | undefined;
  readonly crs?: string | undefined;
  readonly antimeridian?: 'split' | 'reject' | undefined;
  readonly pole?: Readonly<Record<string, 'north' | 'south'>> | undefined;
}

export interface AssignInput {
  readonly layer: string;
  readonly as: string;
  readonly boundary?: BoundaryRule | undefined;
  readonly overlap?: OverlapRule | undefined;
}

export type MeasureInput =
  | 'count'
  | { readonly sum: string }
  | { readonly mean: string }
  | { readonly min: string }
  | { readonly max: string };

export interface AggregateInput {
  readonly by: string;
  readonly measures: readonly MeasureInput[];
}

export type StepInput = { readonly assign: AssignInput } | { readonly aggregate: AggregateInput };

export interface SinkInput {
  readonly path: string;
  readonly rows?: boolean | undefined;
  readonly format?: 'arrow' | 'parquet' | 'csv' | 'geojson' | undefined;
}

export interface PinInput {
  readonly aspect: PinAspect;
  readonly value: string | number;
  readonly reason?: string | undefined;
  readonly ifImpossible?: 'hold' | 'fail' | undefined;
}

export interface PlanInputSection {
  readonly mode?: RequestedMode | undefined;
  readonly precision?: RequestedPrecision | undefined;
  readonly policy?: string | undefined;
  readonly ifImpossible?: 'hold' | 'fail' | undefined;
  readonly cadence?: 'every-chunk' | number | undefined;
  readonly chunkSecondsTarget?: number | undefined;
  readonly pins?: readonly PinInput[] | undefined;
}

export interface LimitsInput {
  /** A size with a unit, such as `2 GiB`. */
  readonly memory?: string | undefined;
  readonly failedTiles?: number | undefined;
  readonly lanes?: number | undefined;
  readonly shards?: number | null | undefined;
}

export interface PipelineInput {
  readonly apiVersion: 'tileloom/v1';
  readonly kind: 'Pipeline';
  readonly name: string;
  readonly source: SourceInput;
  readonly layers: Readonly<Record<string, LayerInput>>;
  readonly steps: readonly StepInput[];
  readonly sink: SinkInput;
  readonly plan?: PlanInputSection | undefined;
  readonly limits?: LimitsInput | undefined;
}
