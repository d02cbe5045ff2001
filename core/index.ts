export { canonicalJson, type JsonValue } from './canonical-json.ts';
export { digestOf, sha256Hex } from './digest.ts';
export { fieldDifferences, isSameJson, type FieldDifference } from './field-diff.ts';
export {
  EngineError,
  isEngineError,
  type EngineErrorOptions,
  type ErrorDetails,
} from './errors.ts';
