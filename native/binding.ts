// Owns koffi: the only module that imports it. What can go wrong between JavaScript and C is handled
// here, once:
// I1 arguments of an asynchronous call stay referenced until it has settled (koffi keeps none);
// I2 buffers are checked for element type and length, integers for range, before they reach C;
// I3 asynchronous calls run on 8 MiB stacks and never exceed koffi's limit (a queue waits);
// I4 a library is never unloaded.
import koffi from 'koffi';
import { codeOfStatus, isRetryableStatus, NativeError } from './errors.ts';

const STACK_BYTES = 8 * 1024 * 1024;
const ASYNC_CALLS_MAX = 256;
/** Below koffi's limit, so that a call never throws for it. */
const ASYNC_CALLS_IN_FLIGHT = 128;
const ERROR_BYTES = 544;
const ERROR_TEXT_OFFSET = 32;

type KoffiFunction = ReturnType<ReturnType<typeof koffi.load>['func']>;

/** Memory or a handle or null for a `void *`; numbers for the rest. Text goes through `cText`. */
export type NativeArgument = ArrayBufferView | bigint | number | null;

export interface NativeFunction {
  /** @returns the status */
  call(...args: NativeArgument[]): number;
  /** Runs on libuv's pool. */
  callAsync(...args: NativeArgument[]): Promise<number>;
}

export interface NativeLibrary {
  readonly path: string;
  /** @throws {NativeError} `NO_SUCH_SYMBOL` */
  declare(prototype: string): NativeFunction;
}

let configured = false;
let inFlight = 0;
const waiting: (() => void)[] = [];
const alive = new Set<readonly NativeArgument[]>();

/** Loads a shared library for the life of the process. */
export function loadLibrary(path: string): NativeLibrary {
  if (!configured) {
    koffi.config({ async_stack_size: STACK_BYTES, max_async_calls: ASYNC_CALLS_MAX });
    configured = true;
  }
  const library = openOrExplain(path);
  return {
    path,
    declare(prototype: string): NativeFunction {
      try {
        return wrap(library.func(prototype));
      } catch (cause) {
        throw new NativeError(
          'NO_SUCH_SYMBOL',
          `library ${path} lacks a function: expected ${prototype}; build the same version`,
          { cause, details: { library: path, prototype } },
        );
      }
    },
  };
}

function openOrExplain(path: string): ReturnType<typeof koffi.load> {
  try {
    return koffi.load(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new NativeError(
      'LIBRARY_UNUSABLE',
      `library ${path} cannot be loaded: ${reason}; build it again with scripts/build-native.mjs`,
      { cause, details: { library: path } },
    );
  }
}

function wrap(native: KoffiFunction): NativeFunction {
  return {
    call(...args) {
      return native(...args) as number;
    },
    async callAsync(...args) {
      await enter();
      alive.add(args);
      try {
        return await new Promise<number>((resolve, reject) => {
          native.async(...args, (error: unknown, status: number) => {
            if (error === null || error === undefined) {
              resolve(status);
            } else {
              reject(error as Error);
            }
          });
        });
      } finally {
        alive.delete(args);
        leave();
      }
    },
  };
}

async function enter(): Promise<void> {
  if (inFlight >= ASYNC_CALLS_IN_FLIGHT) {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return;
  }
  inFlight += 1;
}

/** Hands the place to the next waiting call, or frees it. */
function leave(): void {
  const next = waiting.shift();
  if (next === undefined) {
    inFlight -= 1;
  } else {
    next();
  }
}

/** Memory for one `tl_error`, and its translation. */
export class ErrorSlot {
  readonly bytes: Uint8Array = new Uint8Array(ERROR_BYTES);

  /** Tile that the error is about, or −1. */
  get tile(): number {
    return Number(new DataView(this.bytes.buffer).getBigInt64(8, true));
  }

  /**
   * Throws unless the status is TL_OK.
   *
   * @param subject what the call was about, for the message
   * @param columnNames names by column number of the error
   */
  check(status: number, subject: string, columnNames: readonly string[] = []): void {
    if (status === 0) {
      return;
    }
    const view = new DataView(this.bytes.buffer);
    const end = this.bytes.indexOf(0, ERROR_TEXT_OFFSET);
    const text = new TextDecoder().decode(this.bytes.subarray(ERROR_TEXT_OFFSET, end));
    const tile = Number(view.getBigInt64(8, true));
    const row = Number(view.getBigInt64(16, true));
    const column = view.getInt32(24, true);
    const known = view.getInt32(0, true) === status;
    const deviceError = known ? view.getInt32(28, true) : 0;
    const parts = known && tile >= 0 ? [`tile ${tile}`] : [];
    const name = known && column >= 0 ? (columnNames[column] ?? `column ${column}`) : null;
    if (name !== null) {
      parts.push(`column ${name}`);
    }
    const where = parts.length === 0 ? subject : `${parts.join(', ')} of ${subject}`;
    throw new NativeError(codeOfStatus(status), `${where} ${text || `failed: status ${status}`}`, {
      retryable: isRetryableStatus(status),
      details: {
        status,
        errno: known ? view.getInt32(4, true) : 0,
        tile: known && tile >= 0 ? tile : null,
        row: known && row >= 0 ? row : null,
        column: name,
        ...(deviceError === 0 ? {} : { deviceError }),
      },
    });
  }
}

/** A `T **` out parameter. */
export class HandleSlot {
  readonly slot: BigUint64Array = new BigUint64Array(1);

  get handle(): bigint {
    return this.slot[0] ?? 0n;
  }
}

/** @throws {NativeError} `BAD_ARGUMENT` unless the value is an integer in [0, max] */
export function checkInteger(value: number, max: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new NativeError(
      'BAD_ARGUMENT',
      `${what} is out of range: expected an integer from 0 to ${max}, got ${value}; ` +
        'correct the call',
    );
  }
  return value;
}

/** @throws {NativeError} `BAD_ARGUMENT` unless the value is a Float64Array of that length */
export function checkDoubles(value: unknown, length: number, what: string): Float64Array {
  if (!(value instanceof Float64Array) || value.length !== length) {
    const got = value instanceof Float64Array ? `length ${value.length}` : typeof value;
    throw new NativeError(
      'BAD_ARGUMENT',
      `${what} is not usable: expected a Float64Array of length ${length}, got ${got}; ` +
        'correct the call',
    );
  }
  return value;
}

/** @throws {NativeError} `BAD_ARGUMENT` unless the value is an Int32Array of that length */
export function checkInt32s(value: unknown, length: number, what: string): void {
  if (!(value instanceof Int32Array) || value.length !== length) {
    const got = value instanceof Int32Array ? `length ${value.length}` : typeof value;
    throw new NativeError(
      'BAD_ARGUMENT',
      `${what} are not usable: expected an Int32Array of length ${length}, got ${got}; ` +
        'correct the call',
    );
  }
}

/**
 * UTF-8 bytes with a NUL at the end, to be passed as `void *`.
 *
 * @throws {NativeError} `BAD_ARGUMENT` if the text is empty or holds a NUL
 */
export function cText(value: string, what: string): Uint8Array {
  if (value.length === 0 || value.includes('\0')) {
    throw new NativeError(
      'BAD_ARGUMENT',
      `${what} is not usable: expected text without NUL, got ${JSON.stringify(value)}; ` +
        'correct the call',
    );
  }
  return new TextEncoder().encode(`${value}\0`);
}
