export { LayerError, type LayerErrorCode, type LayerFinding } from './errors.ts';
export type { LayerFindingCode } from './errors.ts';
export { sizeOf, type Geometry, type LayerMeta, type LayerSize } from './geometry.ts';
export { geometryToFeatures, type LayerFeature } from './layer-features.ts';
export {
  LAYER_CONVERTER_VERSION,
  prepareLayer,
  type LayerProgress,
  type LayerProgressListener,
  type PreparedLayer,
  type PrepareLayerOptions,
} from './prepare-layer.ts';
export { parseGeometry, readGeometry, writeGeometry } from './tlgeom.ts';
