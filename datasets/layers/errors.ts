// Owns the error codes of layers, and the findings that validation reports. Codes are a stable contract.
import { EngineError, type EngineErrorOptions } from '../../core/index.ts';

/** What validation may say about a layer; docs/layers.md defines each. */
export type LayerFindingCode =
  // errors
  | 'LAYER_RING_UNCLOSED'
  | 'LAYER_RING_TOO_SHORT'
  | 'LAYER_COORDINATE_INVALID'
  | 'LAYER_COORDINATE_OUT_OF_RANGE'
  | 'LAYER_COORDINATES_MALFORMED'
  | 'LAYER_NOT_POLYGON'
  | 'LAYER_ID_MISSING'
  | 'LAYER_ID_DUPLICATE'
  | 'LAYER_ANTIMERIDIAN'
  | 'LAYER_POLE_UNDECLARED'
  // warnings
  | 'LAYER_GEOMETRY_EMPTY'
  | 'LAYER_RING_ZERO_AREA'
  | 'LAYER_RING_SELF_INTERSECTS'
  | 'LAYER_RING_SELF_TOUCHES'
  | 'LAYER_RING_SPANS_WORLD'
  | 'LAYER_ANTIMERIDIAN_SPLIT'
  | 'LAYER_EVEN_ODD_DIFFERS'
  | 'LAYER_BORDER_UNMATCHED'
  | 'LAYER_CHECK_INCOMPLETE';

export interface LayerFinding {
  readonly code: LayerFindingCode;
  readonly severity: 'error' | 'warning';
  /** Id of the feature it is about; `#12` (input position from 0) when it has none; null: the layer. */
  readonly feature: string | null;
  /** How many times it was found in that feature. */
  readonly count: number;
  readonly message: string;
}

export type LayerErrorCode =
  /** Findings of severity error; the message lists them. */
  | 'LAYER_INVALID'
  | 'LAYER_NOT_FOUND'
  | 'LAYER_EMPTY'
  | 'LAYER_FORMAT'
  | 'LAYER_ENCODING'
  | 'LAYER_JSON_INVALID'
  | 'LAYER_JSON_TOO_DEEP'
  | 'LAYER_OBJECT_UNKNOWN'
  | 'LAYER_PARQUET_INVALID'
  | 'LAYER_WKB_INVALID'
  | 'LAYER_EDGES_SPHERICAL'
  | 'LAYER_CRS_UNSUPPORTED'
  | 'LAYER_CRS_MISMATCH'
  | 'LAYER_TOO_LARGE'
  | 'LAYER_GEOMETRY_CORRUPT';

export class LayerError extends EngineError<LayerErrorCode> {
  /** Findings of severity error when the code is `LAYER_INVALID`, else empty. */
  readonly findings: readonly LayerFinding[];

  constructor(
    code: LayerErrorCode,
    message: string,
    options: EngineErrorOptions & { readonly findings?: readonly LayerFinding[] } = {},
  ) {
    super(code, message, options);
    this.name = 'LayerError';
    this.findings = options.findings ?? [];
  }
}
