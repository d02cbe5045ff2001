export {
  verifyVariant,
  type ConformanceFailure,
  type ConformanceOptions,
  type ConformanceReport,
} from './conformance.ts';
export { encodeGeometry, type AreaGeometry } from './geometry-encoding.ts';
export { NativeError, type NativeErrorCode } from './errors.ts';
export { openDeviceLibrary } from './device.ts';
export {
  openDeviceMeasure,
  PINNED_ROUNDS,
  type DeviceMeasure,
  type KernelMeasurement,
  type MeasureRequest,
} from './device-measure.ts';
export { openKernels } from './library.ts';
export { defaultLibraryPath } from './paths.ts';
export type {
  AllPairs,
  AssignOptions,
  BatchOutput,
  BuildIndexOptions,
  Chunk,
  ColumnInput,
  DeviceInfo,
  DeviceLibrary,
  DeviceStatistics,
  ExactSum,
  GpuEntry,
  GpuListing,
  ImageOrigin,
  IndexInfo,
  KernelLibrary,
  Layer,
  LockHandle,
  OpenChunkOptions,
  OpenDevice,
  OpenDeviceOptions,
  OpenLayerOptions,
  TileInput,
  TileOutput,
} from './types.ts';
