// Owns random numbers that are a function of (seed, stream, index) alone, so that any row can be made
// without the rows before it, on any machine, with the same bits. Only integer arithmetic and the
// correctly rounded + − × ÷ of doubles are used, never Math functions whose last bit is unspecified.

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
 * A permutation of 0 … size − 1 by a four-round Feistel network with cycle walking.
 *
 * @param size at most 2^52
 */
export function createPermutation(size: number, seed: number): (index: number) => number {
  let halfBits = 1;
  while (4 ** halfBits < size) halfBits += 1;
  const half = 2 ** halfBits;
  const words = new Uint32Array(4);
  const round = (value: number, number: number): number => {
    philox(words, value, number, 0x5045524d, 0, seed, 0);
    return (words[0] as number) % half;
  };
  return (index) => {
    let value = index;
    do {
      let left = Math.floor(value / half);
      let right = value % half;
      for (let number = 0; number < 4; number += 1) {
        const mixed = (left ^ round(right, number)) >>> 0;
        left = right;
        right = mixed;
      }
      value = left * half + right;
    } while (value >= size);
    return value;
  };
}
