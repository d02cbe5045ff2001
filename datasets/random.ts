// Owns random numbers that are a function of (seed, stream, index) alone, so that any row can be
// made without the rows before it, on any machine, with the same bits. Only integer arithmetic and
// the correctly rounded + − × ÷ of doubles are used, never Math functions whose last bit is
// unspecified.

/**
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * @param out receives four 32-bit words
 */
export function philox(
  out: Uint32Array,
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
  key0: number,
  key1: number,
): void {
  let c0 = counter0 | 0;
  let c1 = counter1 | 0;
  let c2 = counter2 | 0;
  let c3 = counter3 | 0;
  let k0 = key0 | 0;
  let k1 = key1 | 0;
  for (let round = 0; round < 10; round += 1) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** High 32 bits of the 64-bit product of two unsigned words, by halves of 16 bits. */
function multiplyHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (cross >>> 16)) | 0;
}

/** A word as a fraction in [0, 1). */
export function fraction(word: number): number {
  return (word >>> 0) / 4294967296;
}

const CELLS = 1024;
/** Quantile beyond which the outermost cells are cut: about 3.9 standard deviations. */
const OUTERMOST = 3.9;

/** A word as a standard normal number: quantiles at 1/1024 steps, linear between them. */
export function normal(word: number): number {
  const position = (word >>> 0) / 4194304;
  const cell = Math.floor(position);
  const from = QUANTILES[cell] as number;
  return from + ((QUANTILES[cell + 1] as number) - from) * (position - cell);
}

const QUANTILES = normalQuantiles();

function normalQuantiles(): Float64Array {
  const table = new Float64Array(CELLS + 1);
  for (let cell = 1; cell <= CELLS / 2; cell += 1) {
    let [low, high] = [-OUTERMOST, 0];
    for (let step = 0; step < 48; step += 1) {
      const middle = (low + high) / 2;
      if (normalCdf(middle) < cell / CELLS) low = middle;
      else high = middle;
    }
    // Twelve binary digits after the point: far above what the series' rounding errors could move.
    const quantile = cell === CELLS / 2 ? 0 : Math.round(((low + high) / 2) * 2 ** 20) / 2 ** 20;
    table[cell] = quantile;
    table[CELLS - cell] = -quantile;
  }
  table[0] = -OUTERMOST;
  table[CELLS] = OUTERMOST;
  return table;
}

/** 1/2 + (x − x³/6 + x⁵/40 − …)/√2π: the Taylor series, which needs no exponential. */
function normalCdf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 80; n += 1) {
    term = (-term * x * x) / (2 * n);
    sum += term / (2 * n + 1);
  }
  return 0.5 + sum * 0.3989422804014327;
}

/**
 * A permutation of 0 … size − 1: an alternating Feistel network over a grid of about size cells,
 * with cycle walking over the few cells beyond (Black and Rogaway, "Ciphers with arbitrary finite
 * domains").
 *
 * @param size at most 2^52
 */
export function createPermutation(size: number, seed: number): (index: number) => number {
  const columns = Math.max(1, Math.ceil(Math.sqrt(size)));
  const rows = Math.max(1, Math.ceil(size / columns));
  return (index) => {
    let value = index;
    do {
      let row = Math.floor(value / columns);
      let column = value - row * columns;
      for (let round = 0; round < 6; round += 2) {
        row = (row + mixed(column, seed + round)) % rows;
        column = (column + mixed(row, seed + round + 1)) % columns;
      }
      value = row * columns + column;
    } while (value >= size);
    return value;
  };
}

/** A well-mixed word of two (the finaliser of MurmurHash3 with the key added between its steps). */
function mixed(value: number, key: number): number {
  let word = Math.imul(value ^ (value >>> 16), 0x85ebca6b) + Math.imul(key + 1, 0x9e3779b9);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  return (word ^ (word >>> 13)) >>> 0;
}
