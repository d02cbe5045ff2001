// Owns the pipeline spec after validation: defaults filled in, sizes in bytes, paths still as given.
import type { BoundaryRule, OverlapRule } from '../registry/index.ts';
import type { RequestedMode, RequestedPrecision } from '../planner/index.ts';

export interface SourceSpec {
  readonly dataset: string;
  readonly crs: string;
  /** Maps longitudes in [180, 540) by x − 360 before any test. */
  readonly wrap: boolean;
}

export interface LayerSpec {
  readonly file: string;
  /** Property (or `@id` for the feature's own id) that names a feature. */
  readonly id: string;
  /** TopoJSON object name, when the file holds several. */
  readonly object: string | null;
  readonly crs: string;
  readonly antimeridian: 'split' | 'reject';
  /** Feature id → pole, for rings that enclose one. */
  readonly pole: Readonly<Record<string, 'north' | 'south'>>;
}

export interface AssignStep {
  readonly kind: 'assign';
  readonly layer: string;
  readonly as: string;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
}

export type Measure =
  | { readonly kind: 'count' }
  | { readonly kind: 'sum' | 'mean' | 'min' | 'max'; readonly column: string };

export interface AggregateStep {
  readonly kind: 'aggregate';
  readonly by: string;
  readonly measures: readonly Measure[];
}

export interface SinkSpec {
  readonly path: string;
  readonly rows: boolean;
  readonly format: 'arrow' | 'parquet' | 'csv' | 'geojson';
}

export interface PlanPreferences {
  readonly mode: RequestedMode;
  readonly precision: RequestedPrecision;
  readonly policy: string;
  /** What becomes of the run where mode or precision cannot be had; absent in specs of old runs. */
  readonly ifImpossible?: 'hold' | 'fail';
  /** `every-chunk`, or a number of chunks that one plan covers. */
  readonly cadence: 'every-chunk' | number;
  /** Seconds of device work that one chunk aims at. */
  readonly chunkSecondsTarget: number;
  readonly pins: readonly SpecPin[];
}

export interface SpecPin {
  readonly aspect: 'runtime' | 'variant' | 'precision' | 'chunkRows' | 'device' | 'host';
  readonly value: string | number;
  readonly reason: string;
  readonly ifImpossible: 'hold' | 'fail';
}

export interface RunLimits {
  readonly memoryBytesMax: number;
  /** How many tiles may be parked before the run fails. */
  readonly failedTiles: number;
  readonly lanes: number;
  /** Shards to cut the run into; null: chosen from the number of tiles. */
  readonly shards: number | null;
}

export interface PipelineSpec {
  readonly apiVersion: 'tileloom/v1';
  readonly kind: 'Pipeline';
  readonly name: string;
  readonly source: SourceSpec;
  readonly layers: Readonly<Record<string, LayerSpec>>;
  /** Exactly one assign, then at most one aggregate. */
  readonly steps: readonly [AssignStep] | readonly [AssignStep, AggregateStep];
  readonly sink: SinkSpec;
  readonly plan: PlanPreferences;
  readonly limits: RunLimits;
}
