// Owns timing: warm-up, repeated runs, median with range.

export interface Rate {
  readonly case: string;
  readonly rows: number;
  readonly runs: number;
  /** Million rows per second of one core. */
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** The same over the process's CPU seconds: what a core does when nobody else takes it away. */
  readonly cpuMedian: number;
}

/** Runs once to warm up, then `runs` times. */
export async function measure(
  name: string,
  rows: number,
  runs: number,
  body: () => Promise<void>,
): Promise<Rate> {
  await body();
  const rates: number[] = [];
  const cpuRates: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const started = process.hrtime.bigint();
    const used = process.cpuUsage();
    await body();
    const { user, system } = process.cpuUsage(used);
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    rates.push(rows / seconds / 1e6);
    cpuRates.push(rows / (user + system));
  }
  rates.sort((a, b) => a - b);
  cpuRates.sort((a, b) => a - b);
  const rate = {
    case: name,
    rows,
    runs,
    median: round(rates[rates.length >> 1] ?? 0),
    min: round(rates[0] ?? 0),
    max: round(rates.at(-1) ?? 0),
    cpuMedian: round(cpuRates[cpuRates.length >> 1] ?? 0),
  };
  process.stdout.write(
    `${name.padEnd(84)} ${rate.median.toFixed(1).padStart(8)} M rows/s [${rate.min}-${rate.max}], ` +
      `${rate.cpuMedian} per CPU second\n`,
  );
  return rate;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
