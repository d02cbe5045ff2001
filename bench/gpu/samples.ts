// Owns repeated measurements: median with range, and how they are shown.

export interface Samples {
  readonly runs: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Median, least and greatest of values, to four digits. */
export function samplesOf(values: readonly number[]): Samples {
  const sorted = values.toSorted((left, right) => left - right);
  const at = (index: number): number => Number((sorted[index] ?? Number.NaN).toPrecision(4));
  return {
    runs: sorted.length,
    median: at(sorted.length >> 1),
    min: at(0),
    max: at(-1 + sorted.length),
  };
}

/** Amount per second of each of some times. */
export function ratesOf(amount: number, seconds: readonly number[]): Samples {
  return samplesOf(seconds.map((one) => amount / one));
}

export async function repeat(
  times: number,
  body: () => Promise<number>,
): Promise<readonly number[]> {
  const values: number[] = [];
  for (let run = 0; run < times; run += 1) values.push(await body());
  return values;
}

/** A share of two medians, to three digits. */
export function share(part: number, whole: number): number {
  return Number((part / whole).toPrecision(3));
}
