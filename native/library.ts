// Owns the typed facade of one kernel library: opens it, checks its version, checks every argument.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import {
  cText,
  checkDoubles,
  checkInt32s,
  checkInteger,
  ErrorSlot,
  HandleSlot,
  loadLibrary,
  type NativeFunction,
} from './binding.ts';
import { BOUNDARY_NUMBER, openNativeChunk, OVERLAP_NUMBER } from './chunk.ts';
import { NativeError } from './errors.ts';
import { defaultLibraryPath } from './paths.ts';
import type {
  AllPairs,
  AssignOptions,
  BuildIndexOptions,
  ExactSum,
  IndexInfo,
  KernelLibrary,
  Layer,
  LockHandle,
  OpenLayerOptions,
} from './types.ts';

const ABI_VERSION = 1;
const INDEX_INFO_BYTES = 56;
const LAYER_INFO_BYTES = 48 + INDEX_INFO_BYTES;
const SUM_RESULT_BYTES = 72;
const BUFFER_TOO_SMALL = 14;
const DEFAULT_INDEX_BYTES = 1024 ** 3;
const ISA_NAMES = ['avx2', 'fma', 'avx512f'] as const;

const ASSIGN =
  'int tl_assign_points(void *layer, void *library, void *symbol, uint32_t boundary, ' +
  'uint32_t overlap, uint32_t wrap, uint64_t rows, void *x, void *y, void *ids, void *pairs, ' +
  'uint64_t pairs_capacity, void *pairs_used, void *error)';
const BUILD =
  'int tl_index_build(void *geometry_path, void *geometry_sha256, void *index_path, ' +
  'uint32_t boundary, uint32_t overlap, uint64_t bytes_max, uint32_t durable, void *info, ' +
  'void *error)';
const OPEN_LAYER =
  'int tl_layer_open(void *geometry_path, void *geometry_sha256, void *index_path, void *out, ' +
  'void *info, void *error)';
const SUM =
  'int tl_exact_sum(void *values, void *validity, uint64_t count, uint64_t splits, void *out, ' +
  'void *error)';

const layerHandles = new WeakMap<Layer, () => bigint>();

/**
 * Opens a kernel library for the life of the process.
 *
 * @param options.path another library with the same ABI or part of it; the product's own by default
 * @throws {NativeError} `LIBRARY_MISSING`, `LIBRARY_UNUSABLE`
 */
export function openKernels(options: { readonly path?: string } = {}): KernelLibrary {
  return loadKernels(options.path ?? defaultLibraryPath()).kernels;
}

/** A library of the kernels' ABI and the means to declare more of its functions. */
export interface LoadedKernels {
  readonly kernels: KernelLibrary;
  readonly lookUp: (prototype: string) => NativeFunction;
}

/** @throws {NativeError} `LIBRARY_MISSING`, `LIBRARY_UNUSABLE` */
export function loadKernels(path: string): LoadedKernels {
  if (!existsSync(path)) {
    throw new NativeError(
      'LIBRARY_MISSING',
      `kernel library ${path} does not exist: expected a built one; ` +
        'run node scripts/build-native.mjs',
      { details: { library: path } },
    );
  }
  const library = loadLibrary(path);
  const functions = new Map<string, NativeFunction>();
  const lookUp = (prototype: string): NativeFunction => {
    const known = functions.get(prototype) ?? library.declare(prototype);
    functions.set(prototype, known);
    return known;
  };
  const version = lookUp('int tl_abi_version(void)').call();
  if (version !== ABI_VERSION) {
    throw new NativeError(
      'LIBRARY_UNUSABLE',
      `kernel library ${path} has another ABI: expected version ${ABI_VERSION}, ` +
        `got ${version}; build it again`,
      { details: { library: path, version } },
    );
  }
  return { kernels: new Library(path, lookUp), lookUp };
}

class Library implements KernelLibrary {
  readonly path: string;
  readonly image: string;
  readonly #function: (prototype: string) => NativeFunction;

  constructor(path: string, lookUp: (prototype: string) => NativeFunction) {
    this.path = path;
    this.image = sha256OfFile(path).toString('hex');
    this.#function = lookUp;
  }

  get isa(): readonly string[] {
    const bits = new BigUint64Array(1);
    const status = this.#function('int tl_cpu_features(void *bits)').call(bits);
    new ErrorSlot().check(status, 'processor');
    return ISA_NAMES.filter((_, index) => (((bits[0] ?? 0n) >> BigInt(index)) & 1n) === 1n);
  }

  hash128(bytes: Uint8Array): string {
    const out = Buffer.alloc(16);
    const hash = this.#function('int tl_hash128(void *bytes, uint64_t size, void *out)');
    new ErrorSlot().check(hash.call(bytes, bytes.byteLength, out), 'hash');
    return out.toString('hex');
  }

  async buildIndex(options: BuildIndexOptions): Promise<IndexInfo> {
    const info = new DataView(new ArrayBuffer(INDEX_INFO_BYTES));
    const error = new ErrorSlot();
    const status = await this.#function(BUILD).callAsync(
      cText(options.geometryPath, 'path of the geometry'),
      sha256OfFile(options.geometryPath),
      cText(options.indexPath, 'path of the index'),
      BOUNDARY_NUMBER[options.boundary],
      OVERLAP_NUMBER[options.overlap],
      checkInteger(options.maxBytes ?? DEFAULT_INDEX_BYTES, Number.MAX_SAFE_INTEGER, 'maxBytes'),
      options.durable === false ? 0 : 1,
      info,
      error.bytes,
    );
    error.check(status, `index of ${options.geometryPath}`);
    return { path: options.indexPath, ...unpackIndexInfo(info, 0) };
  }

  openLayer(options: OpenLayerOptions): Layer {
    const sha256 = sha256OfFile(options.geometryPath);
    const out = new HandleSlot();
    const info = new DataView(new ArrayBuffer(LAYER_INFO_BYTES));
    const error = new ErrorSlot();
    const indexPath = options.indexPath;
    const status = this.#function(OPEN_LAYER).call(
      cText(options.geometryPath, 'path of the geometry'),
      sha256,
      indexPath === null ? null : cText(indexPath, 'path of the index'),
      out.slot,
      info,
      error.bytes,
    );
    error.check(status, `layer ${options.geometryPath}`);
    const close = this.#function('int tl_layer_close(void *layer)');
    return wrapLayer(out.handle, close, sha256.toString('hex'), info, indexPath !== null);
  }

  openChunk(
    options: Parameters<KernelLibrary['openChunk']>[0],
  ): ReturnType<KernelLibrary['openChunk']> {
    return openNativeChunk({ function: this.#function }, handleOf(options.layer), options);
  }

  async assignPoints(
    o: AssignOptions,
    x: Float64Array,
    y: Float64Array,
    out: Int32Array = new Int32Array(x.length),
  ): Promise<Int32Array> {
    if (o.overlap === 'all') {
      throw new NativeError(
        'BAD_ARGUMENT',
        'assignPoints cannot answer overlap all: expected first or error; use assignAllPairs',
      );
    }
    return (await this.#assign(o, x, y, new Int32Array(0), out)).ids;
  }

  async assignAllPairs(o: AssignOptions, x: Float64Array, y: Float64Array): Promise<AllPairs> {
    if (o.overlap !== 'all') {
      throw new NativeError(
        'BAD_ARGUMENT',
        `assignAllPairs answers overlap all only: got ${o.overlap}; use assignPoints`,
      );
    }
    let pairs = new Int32Array(Math.max(1024, x.length * 2));
    for (;;) {
      const { ids, used, enough } = await this.#assign(o, x, y, pairs, new Int32Array(x.length));
      if (enough) {
        return { counts: ids, features: pairs.slice(0, used) };
      }
      pairs = new Int32Array(Math.max(used, pairs.length * 2));
    }
  }

  async #assign(
    o: AssignOptions,
    x: Float64Array,
    y: Float64Array,
    pairs: Int32Array,
    ids: Int32Array,
  ) {
    checkDoubles(x, x.length, 'x of the points');
    checkDoubles(y, x.length, 'y of the points');
    checkInt32s(ids, x.length, 'ids of the points');
    const used = new BigUint64Array(1);
    const error = new ErrorSlot();
    const status = await this.#function(ASSIGN).callAsync(
      handleOf(o.layer),
      o.assignLibrary === undefined || o.assignLibrary === null
        ? null
        : cText(o.assignLibrary, 'path of the assign library'),
      cText(o.symbol, 'symbol'),
      BOUNDARY_NUMBER[o.boundary],
      OVERLAP_NUMBER[o.overlap],
      o.wrap ? 1 : 0,
      x.length,
      x,
      y,
      ids,
      pairs,
      pairs.length,
      used,
      error.bytes,
    );
    const enough = status !== BUFFER_TOO_SMALL;
    if (enough) {
      error.check(status, `points assigned by ${o.symbol}`);
    }
    return { ids, used: Number(used[0]), enough };
  }

  orientationSign(a: readonly number[], b: readonly number[], p: readonly number[]): -1 | 0 | 1 {
    const points = checkDoubles(Float64Array.of(...a, ...b, ...p), 6, 'a, b and p');
    const sign = new Int32Array(1);
    const error = new ErrorSlot();
    const orient = this.#function('int tl_orientation_sign(void *abp, void *sign, void *error)');
    error.check(orient.call(points, sign, error.bytes), 'orientation');
    return Math.sign(sign[0] ?? 0) as -1 | 0 | 1;
  }

  exactSum(values: readonly (number | null)[], splits: number = 1): ExactSum {
    const doubles = Float64Array.from(values, (value) => value ?? 0);
    const validity = new Uint8Array(Math.ceil(values.length / 8));
    values.forEach((value, index) => {
      if (value !== null) {
        validity[index >> 3] = (validity[index >> 3] ?? 0) | (1 << (index & 7));
      }
    });
    const out = new DataView(new ArrayBuffer(SUM_RESULT_BYTES));
    const error = new ErrorSlot();
    const pieces = checkInteger(splits, 2 ** 31, 'splits');
    const sum = this.#function(SUM);
    const status = sum.call(doubles, validity, doubles.length, pieces, out, error.bytes);
    error.check(status, 'sum');
    return unpackSum(out);
  }

  dieWithParent(): void {
    const die = this.#function('int tl_die_with_parent(int32_t expected_parent)');
    new ErrorSlot().check(die.call(process.ppid), 'parent process');
  }

  async lockFile(path: string, waitMs: number): Promise<LockHandle> {
    const lock = new Int32Array(1);
    const error = new ErrorSlot();
    const acquire = this.#function(
      'int tl_lock_acquire(void *path, uint32_t wait_ms, void *lock, void *error)',
    );
    const wait = checkInteger(waitMs, 0xffff_ffff, 'waitMs');
    const status = await acquire.callAsync(
      cText(path, 'path of the lock'),
      wait,
      lock,
      error.bytes,
    );
    error.check(status, `lock ${path}`);
    const release = this.#function('int tl_lock_release(int32_t lock)');
    let held = true;
    return {
      release() {
        if (held) {
          held = false;
          release.call(lock[0] ?? -1);
        }
      },
    };
  }
}

function handleOf(layer: Layer): bigint {
  const handle = layerHandles.get(layer);
  if (handle === undefined) {
    throw new NativeError('BAD_ARGUMENT', 'layer is not one: expected what openLayer gave');
  }
  return handle();
}

function wrapLayer(
  handle: bigint,
  close: NativeFunction,
  geometrySha256: string,
  info: DataView,
  hasIndex: boolean,
): Layer {
  const field = (index: number): number => Number(info.getBigUint64(index * 8, true));
  let open: bigint | null = handle;
  const layer: Layer = {
    geometrySha256,
    features: field(0),
    parts: field(1),
    rings: field(2),
    vertices: field(3),
    residentBytes: field(4),
    mappedBytes: field(5),
    index: hasIndex ? unpackIndexInfo(info, 48) : null,
    close() {
      if (open !== null) {
        const closing = open;
        open = null;
        close.call(closing);
      }
    },
  };
  layerHandles.set(layer, () => {
    if (open === null) {
      throw new NativeError('BAD_STATE', 'layer is closed: expected an open one; open it again');
    }
    return open;
  });
  return layer;
}

function unpackIndexInfo(view: DataView, at: number): Omit<IndexInfo, 'path'> {
  const digest = Buffer.from(view.buffer, view.byteOffset + at + 40, 16).toString('hex');
  return {
    bytes: Number(view.getBigUint64(at, true)),
    records: Number(view.getBigUint64(at + 8, true)),
    edges: Number(view.getBigUint64(at + 16, true)),
    columns: view.getUint32(at + 24, true),
    rows: view.getUint32(at + 28, true),
    kind: view.getUint32(at + 32, true) === 0 ? 'grid' : 'edges',
    digest,
  };
}

function unpackSum(view: DataView): ExactSum {
  const integer = (index: number): number => Number(view.getBigUint64(index * 8, true));
  const count = integer(0);
  const double = (index: number): number | null =>
    count === 0 ? null : view.getFloat64(index * 8, true);
  return {
    count,
    nulls: integer(1),
    nans: integer(2),
    plusInf: integer(3),
    minusInf: integer(4),
    sum: double(5),
    mean: double(6),
    min: double(7),
    max: double(8),
  };
}

/** SHA-256 of a file, read in pieces. */
export function sha256OfFile(path: string): Buffer {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(1 << 20);
  const file = openFile(path);
  try {
    for (let size = readSync(file, piece); size > 0; size = readSync(file, piece)) {
      hash.update(piece.subarray(0, size));
    }
  } finally {
    closeSync(file);
  }
  return hash.digest();
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new NativeError(
      'IO_ERROR',
      `file ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause, details: { file: path } },
    );
  }
}
