export {
  verifyVariant,
  type ConformanceFailure,
  type ConformanceOptions,
  type ConformanceReport,
} from './conformance.ts';
export { encodeGeometry, type AreaGeometry } from './geometry-encoding.ts';
export { NativeError, type NativeErrorCode } from './errors.ts';
export { openKernels } from './library.ts';
export { defaultLibraryPath } from './paths.ts';
export type {
  AllPairs,
  AssignOptions,
  BatchOutput,
  BuildIndexOptions,
  Chunk,
  ColumnInput,
  ExactSum,
  IndexInfo,
  KernelLibrary,
  Layer,
  LockHandle,
  OpenChunkOptions,
  OpenLayerOptions,
  TileInput,
  TileOutput,
} from './types.ts';
