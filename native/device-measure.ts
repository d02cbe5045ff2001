// Owns the facade of tileloom_measure.h: kernels and copies repeated on the open device, for benches.
import type { BoundaryRule, ComputePrecision, OverlapRule } from '../registry/index.ts';
import { cText, checkInteger, ErrorSlot } from './binding.ts';
import { BOUNDARY_NUMBER, MEASURES_MAX, OVERLAP_NUMBER, packBatch } from './chunk.ts';
import { pathFromEnvironment } from './device.ts';
import { loadKernels, sha256OfFile } from './library.ts';
import { deviceLibraryPath } from './paths.ts';
import type { TileInput } from './types.ts';

const REQUEST_BYTES = 48;
const RESULT_BYTES = 64;
const REPEATS_MAX = 100_000;

/** Passes over the tiles that one repetition of `pinned` makes. */
export const PINNED_ROUNDS = 8;

const COPY_NUMBER = { 'device-copy': 0, upload: 1, download: 2 } as const;
const FROM_NUMBER = { resident: 0, pinned: 1 } as const;

const COPY =
  'int tl_device_measure_copy(uint32_t kind, void *driver_path, uint64_t bytes, ' +
  'uint32_t repeats, void *seconds, void *error)';
const KERNELS =
  'int tl_device_measure(void *geometry_path, void *geometry_sha256, void *index_path, ' +
  'void *request, void *paths, uint64_t paths_bytes, uint64_t files, void *tiles, ' +
  'uint64_t tile_count, void *columns, uint64_t column_count, void *seconds, void *result, ' +
  'void *error)';

export interface MeasureRequest {
  /** Where the tiles' columns lie when the clock starts. */
  readonly from: 'resident' | 'pinned';
  readonly geometryPath: string;
  readonly indexPath: string;
  readonly boundary: BoundaryRule;
  readonly overlap: OverlapRule;
  readonly wrap: boolean;
  readonly measures: number;
  readonly aggregate: boolean;
  /** Of the filter: which variant's kernels. */
  readonly precision: ComputePrecision;
  /** Resident: they must fit in one slot. Pinned: dealt to all slots in equal ranges. */
  readonly tiles: readonly TileInput[];
  readonly repeats: number;
}

export interface KernelMeasurement {
  /** One per repetition: kernels of one launch, or `PINNED_ROUNDS` passes over all tiles. */
  readonly seconds: readonly number[];
  readonly rows: number;
  readonly hits: number;
  readonly outside: number;
  readonly invalid: number;
  /** Rows that the host would have to decide; their repair is not in the seconds. */
  readonly ambiguousRows: number;
  /** Tiles whose sums the host would have to make; not in the seconds either. */
  readonly hostTiles: number;
  /** Bytes that one pass over the tiles moves to the device and back. */
  readonly uploadBytes: number;
  readonly downloadBytes: number;
}

export interface DeviceMeasure {
  /** Needs an open device (`openDeviceLibrary` of the same path). */
  measureKernels(request: MeasureRequest): Promise<KernelMeasurement>;
  /** Seconds of each copy of so many bytes; a device copy reads and writes them. */
  measureCopies(
    kind: keyof typeof COPY_NUMBER,
    bytes: number,
    repeats: number,
  ): Promise<readonly number[]>;
}

/**
 * Opens the measurements of the device library.
 *
 * @throws {NativeError} `LIBRARY_MISSING`, `LIBRARY_UNUSABLE`
 */
export function openDeviceMeasure(options: { readonly path?: string } = {}): DeviceMeasure {
  const { lookUp } = loadKernels(options.path ?? deviceLibraryPath());
  return {
    async measureCopies(kind, bytes, repeats) {
      const seconds = new Float64Array(checkInteger(repeats, REPEATS_MAX, 'repeats'));
      const error = new ErrorSlot();
      const size = checkInteger(bytes, Number.MAX_SAFE_INTEGER, 'bytes of a copy');
      const driver = pathFromEnvironment('TILELOOM_CUDA_DRIVER');
      const call = [COPY_NUMBER[kind], driver, size, repeats, seconds, error.bytes];
      error.check(await lookUp(COPY).callAsync(...call), `measured ${kind}`);
      return [...seconds];
    },
    async measureKernels(request) {
      const packed = packBatch(request.tiles, request.measures);
      const seconds = new Float64Array(checkInteger(request.repeats, REPEATS_MAX, 'repeats'));
      const result = new DataView(new ArrayBuffer(RESULT_BYTES));
      const error = new ErrorSlot();
      const status = await lookUp(KERNELS).callAsync(
        cText(request.geometryPath, 'path of the geometry'),
        sha256OfFile(request.geometryPath),
        cText(request.indexPath, 'path of the index'),
        packRequest(request),
        packed.paths,
        packed.paths.byteLength,
        packed.files,
        packed.tiles,
        request.tiles.length,
        packed.columns,
        packed.columnCount,
        seconds,
        result,
        error.bytes,
      );
      error.check(status, `measurement of ${request.tiles.length} tiles`);
      return unpackResult(result, [...seconds]);
    },
  };
}

function packRequest(request: MeasureRequest): DataView {
  const packed = new DataView(new ArrayBuffer(REQUEST_BYTES));
  const fields = [
    REQUEST_BYTES,
    FROM_NUMBER[request.from],
    BOUNDARY_NUMBER[request.boundary],
    OVERLAP_NUMBER[request.overlap],
    request.wrap ? 1 : 0,
    checkInteger(request.measures, MEASURES_MAX, 'measures of a measurement'),
    request.aggregate ? 1 : 0,
    request.repeats,
    request.precision === 'fp32' ? 1 : 0,
  ];
  fields.forEach((value, index) => packed.setUint32(index * 4, value, true));
  return packed;
}

function unpackResult(view: DataView, seconds: readonly number[]): KernelMeasurement {
  const count = (index: number): number => Number(view.getBigUint64(index * 8, true));
  return {
    seconds,
    rows: count(0),
    hits: count(1),
    outside: count(2),
    invalid: count(3),
    ambiguousRows: count(4),
    hostTiles: count(5),
    uploadBytes: count(6),
    downloadBytes: count(7),
  };
}
