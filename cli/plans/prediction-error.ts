// Owns how well predictions held: predicted against measured seconds of the chunks that ran.

export interface PredictionError {
  /** Chunks that ran and have a prediction. */
  readonly chunks: number;
  /** Median and 90th percentile of |predicted − actual| ÷ actual. */
  readonly median: number;
  readonly p90: number;
  /** Predicted ÷ actual seconds of all of them, minus 1: above 0, predictions are too long. */
  readonly bias: number;
}

/** Collects pairs of seconds: 8 bytes a chunk. */
export class PredictionErrors {
  readonly #relative: number[] = [];
  #predicted = 0;
  #actual = 0;

  add(predictedSeconds: number, actualSeconds: number): void {
    // Nothing can be said relative to a chunk that took no measurable time.
    if (!(actualSeconds > 0) || !Number.isFinite(predictedSeconds)) return;
    this.#relative.push(Math.abs(predictedSeconds - actualSeconds) / actualSeconds);
    this.#predicted += predictedSeconds;
    this.#actual += actualSeconds;
  }

  /** @returns null when no chunk ran */
  summary(): PredictionError | null {
    const sorted = Float64Array.from(this.#relative).sort();
    if (sorted.length === 0) return null;
    // The smallest value that so great a share of chunks does not exceed (nearest rank).
    const rank = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
    return {
      chunks: sorted.length,
      median: rank(0.5),
      p90: rank(0.9),
      bias: this.#predicted / this.#actual - 1,
    };
  }
}

/** One sentence about an error, with its sign in words. */
export function describeError(error: PredictionError | null): string {
  if (error === null) {
    return 'no chunk of this run has been measured, so nothing can be said about the error';
  }
  const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
  const side = error.bias >= 0 ? 'too long' : 'too short';
  return (
    `on the ${String(error.chunks)} measured chunks of this run predictions were off by ` +
    `${percent(error.median)} at the median, ${percent(error.p90)} at the 90th percentile; ` +
    `in total ${percent(Math.abs(error.bias))} ${side}`
  );
}
