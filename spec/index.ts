export type * from './types.ts';
export type {
  AggregateInput,
  AssignInput,
  LayerInput,
  LimitsInput,
  MeasureInput,
  PinInput,
  PipelineInput,
  PlanInputSection,
  SinkInput,
  SourceInput,
  StepInput,
} from './input.ts';
export {
  SpecError,
  renderSpecProblems,
  type SpecErrorCode,
  type SpecProblem,
  type SpecProblemCode,
} from './errors.ts';
export { specJsonSchema, type JsonSchema } from './json-schema.ts';
export {
  definePipeline,
  parseSpec,
  specDigest,
  type ParseOptions,
  type ParsedSpec,
} from './parse.ts';
export { absolutiseSpec, type JoinPaths } from './paths.ts';
export { parseSize } from './size.ts';
