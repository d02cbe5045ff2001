// Owns the cases from files: whole chunks from Arrow files in the page cache, on the device and on all
// cores of the same host. Each is checked against the other before it is timed.
import type { VariantSpec } from '../../registry/index.ts';
import type { Bench, BenchCase, Dataset } from './bench-case.ts';
import { deviceVariants } from './check.ts';
import type { ChunkRun } from './chunk.ts';
import { ratesOf, repeat, share } from './samples.ts';
import { bestCpuVariant, checkSides, openSides, SUMS } from './sides.ts';
import { rowsOf } from './tiles.ts';

/** The device of each variant and the host's cores beside it. */
export async function endToEndCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const cases: BenchCase[] = [];
  for (const variant of deviceVariants(bench.libraries.device)) {
    const { onDevice, onCpu } = await casesOf(bench, dataset, variant);
    cases.push(onDevice, onCpu);
  }
  return cases;
}

/** The device's alone: the cores run beside them for the ratio, and have their case already. */
export async function deviceCases(bench: Bench, dataset: Dataset): Promise<readonly BenchCase[]> {
  const cases: BenchCase[] = [];
  for (const variant of deviceVariants(bench.libraries.device)) {
    cases.push((await casesOf(bench, dataset, variant)).onDevice);
  }
  return cases;
}

interface BothCases {
  readonly onDevice: BenchCase;
  readonly onCpu: BenchCase;
}

async function casesOf(bench: Bench, dataset: Dataset, variant: VariantSpec): Promise<BothCases> {
  const sides = openSides(bench, dataset, variant, SUMS);
  try {
    const { tiles } = dataset;
    const what = `${dataset.layerName}, ${dataset.order}`;
    await checkSides(sides, tiles, `from files, ${variant.name}, ${what}`);
    const rows = rowsOf(tiles);
    const runs: ChunkRun[] = [];
    const device = await repeat(bench.scale.chunkRuns, async () => {
      const run = await sides.device(tiles);
      runs.push(run);
      return run.seconds;
    });
    const cpu = await repeat(bench.scale.chunkRuns, async () => (await sides.cpu(tiles)).seconds);
    const rate = ratesOf(rows, device);
    const cpuRate = ratesOf(rows, cpu);
    const last = runs.at(-1) as ChunkRun;
    const stages = Object.entries(last.stages).map(
      ([name, seconds]) =>
        [`${name}ThreadSeconds`, Number((seconds as number).toPrecision(3))] as const,
    );
    return {
      onDevice: {
        ...{
          case: `from files, device, ${variant.name}, ${what}, ${bench.device.slots} slots`,
          unit: 'rows/s',
          rows,
          rate,
        },
        facts: {
          ...{ timesCpu: share(rate.median, cpuRate.median), repairedRows: last.repairedRows },
          ...Object.fromEntries(stages),
        },
      },
      onCpu: {
        ...{
          case: `from files, CPU (beside ${variant.name}), ${what}, ${bench.cores} cores`,
          unit: 'rows/s',
          rows,
          rate: cpuRate,
        },
        facts: { variant: bestCpuVariant(bench.libraries).id },
      },
    };
  } finally {
    sides.close();
  }
}
