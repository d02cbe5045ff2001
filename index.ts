// The library's public face: write a pipeline, check it, plan it, read what a run published.
export { EngineError, canonicalJson, digestOf, isEngineError } from './core/index.ts';
export {
  SpecError,
  absolutiseSpec,
  definePipeline,
  parseSpec,
  renderSpecProblems,
  specDigest,
  specJsonSchema,
  type ParsedSpec,
  type PipelineInput,
  type PipelineSpec,
  type SpecProblem,
} from './spec/index.ts';
export { REGISTRY, findVariant, type Registry, type VariantSpec } from './registry/index.ts';
export {
  POLICIES,
  plan,
  policyById,
  renderReason,
  resolvePins,
  type Pin,
  type Plan,
  type PlanDecision,
  type PlanInput,
  type PlanRefusal,
} from './planner/index.ts';
export {
  inspectDataset,
  makeDataset,
  openDataset,
  readManifest,
  readMarker,
  type Dataset,
  type DatasetManifest,
  type SinkManifest,
  type SinkMarker,
} from './datasets/index.ts';
export {
  RUN_WORKFLOW,
  STATUS_QUERY,
  runWorkflowId,
  type RunInput,
  type RunResult,
  type RunStatus,
} from './workflows/messages.ts';
