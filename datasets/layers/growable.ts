// Owns typed arrays that grow: amortised doubling, one view at the end, no per-element objects.

type Numbers = Float64Array | Uint32Array | Uint8Array;

/** Append-only numbers; `data` may be longer than `length`, read below `length` only. */
export class Growable<T extends Numbers> {
  data: T;
  length = 0;
  readonly #create: (length: number) => T;

  constructor(create: (length: number) => T, capacity = 1024) {
    this.#create = create;
    this.data = create(capacity);
  }

  push(value: number): void {
    if (this.length === this.data.length) this.reserve(1);
    this.data[this.length] = value;
    this.length += 1;
  }

  /** Makes room for more elements without changing the length. */
  reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.data.length) return;
    const grown = this.#create(Math.max(needed, this.data.length * 2));
    grown.set(this.data.subarray(0, this.length));
    this.data = grown;
  }

  /** The elements as a view, valid until the next push. */
  view(): T {
    return this.data.subarray(0, this.length) as T;
  }
}

export function growableFloat64(): Growable<Float64Array> {
  return new Growable((length) => new Float64Array(length));
}

export function growableUint32(): Growable<Uint32Array> {
  return new Growable((length) => new Uint32Array(length));
}
