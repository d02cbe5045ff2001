// Owns the order of the GPU bench: ceilings, then for each dataset resident, pinned and end-to-end cases
// and the planner's shapes, and at last the record.
// I1 a record is written only on a real device, by a run that went through; a dry run writes none.
import { rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { OpenDeviceOptions } from '../../native/index.ts';
import { showCase, type Bench, type BenchCase, type Dataset, type Scale } from './bench-case.ts';
import { measureCeilings } from './ceilings.ts';
import { datasetsOf } from './datasets.ts';
import {
  fakeReason,
  findDevice,
  openDevice,
  openLibraries,
  Refused,
  type Libraries,
} from './device.ts';
import { deviceCases, endToEndCases } from './end-to-end.ts';
import { makeDataFolder, makeOut } from './folders.ts';
import { hostFacts } from './info.ts';
import { busyClocks, pinnedCases, residentCases, type BusyClocks } from './kernel-cases.ts';
import { LAYERS } from './layers.ts';
import { readClocks, readDriverRelease } from './nvidia-smi.ts';
import type { Place } from './place.ts';
import { plannerRows, showRow, tableOf, type ShapeRow } from './planner-choice.ts';
import { writeGpuRecord, type GpuRecord } from './record.ts';

export interface BenchOptions {
  readonly ordinal: number;
  readonly rows: number;
  readonly dryRun: boolean;
  /** Folder of records; the checkout's bench/record unless given. */
  readonly out: string | null;
  /** Folder for data. */
  readonly folder: string | null;
}

const MIB = 1024 ** 2;

const METHOD: readonly string[] = [
  'rate: median of the runs, with least and greatest; seconds of kernels and copies are of CUDA events',
  'ceilings: one buffer copied on the device (bytes read + bytes written), and between pinned host memory and the device, in this run',
  'resident: the product’s launches repeated on points that lie on the device; accumulators are cleared before the first event; rows that the host must repair and tiles that it must sum are counted, not timed',
  'roofline: (bytes of the columns read once + 4 bytes of id a row, or the accumulators when summing) × rows/s ÷ the device’s copy bandwidth; reads of index and accumulators are left out, so the memory does more',
  'from pinned memory: every slot uploads, computes and downloads its tiles in a thread of its own, by the wall clock',
  'link: bytes uploaded a second ÷ the upload bandwidth of pinned memory',
  'from files: from opening the chunk to its merged sums, by the wall clock; Arrow files in the page cache, checksums verified',
  'checks: before a case is timed, a chunk of the same tiles and kernels gives the CPU’s digests and counts; what timed launches count is held against the CPU too, and of a chunk with a cold index the timed answer itself',
  'busy clocks: the last that nvidia-smi told while resident kernels ran again, in nobody’s time, for some seconds',
];

export async function runBench(place: Place, options: BenchOptions): Promise<void> {
  const libraries = openLibraries(place);
  const entry = findDevice(libraries, options.ordinal);
  const fake = fakeReason(entry);
  if (fake !== null && !options.dryRun) {
    throw new Refused(
      `refused: ${fake}. On a fake only --dry-run makes sense; no record is written`,
    );
  }
  const scale = options.dryRun ? DRY : fullScale(options.rows);
  const target = options.out ?? join(place.root, 'bench', 'record');
  // Now, not after minutes.
  if (!options.dryRun) makeOut(target);
  const folder = makeDataFolder(options.folder, 'tileloom-bench-');
  process.stdout.write(`${entry.name}, ${entry.uuid}\n`);
  try {
    const driver = await readDriverRelease(entry.uuid);
    const before = await readClocks(entry.uuid);
    const run = new Run(place, libraries, options.ordinal, scale);
    await run.all(folder);
    if (options.dryRun) {
      const { cases, rows } = run;
      process.stdout.write(
        `dry run: ${cases.length} cases and ${rows.length} shapes went through; nothing is measured\n`,
      );
      return;
    }
    const clocks = { before, busy: run.clocks, after: await readClocks(entry.uuid) };
    const record = recordOf(place, libraries, run, { driver, clocks });
    process.stdout.write(`${writeGpuRecord(target, record)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tiny data: what a dry run goes through. */
const DRY: Scale = {
  ...{ rows: 16_384, tileRows: 2_048, largeTileRows: 4_096, copyBytes: MIB, slotBytes: 8 * MIB },
  productSlotBytes: 8 * MIB,
  ...{ kernelRuns: 2, chunkRuns: 1, shapeRows: [2_048, 16_384], busySeconds: 0 },
};

function fullScale(rows: number): Scale {
  return {
    ...{ rows, tileRows: 65_536, largeTileRows: 1_048_576, copyBytes: 1024 * MIB },
    ...{ slotBytes: 4096 * MIB, productSlotBytes: null, kernelRuns: 30, chunkRuns: 5 },
    shapeRows: [1e5, 1e6, 1e7, 1e8].filter((one) => one <= rows),
    busySeconds: 3,
  };
}

class Run {
  readonly cases: BenchCase[] = [];
  readonly rows: ShapeRow[] = [];
  readonly clocks: BusyClocks[] = [];
  readonly #place: Place;
  readonly #libraries: Libraries;
  readonly #ordinal: number;
  readonly #scale: Scale;
  #bench: Bench | null = null;

  constructor(place: Place, libraries: Libraries, ordinal: number, scale: Scale) {
    this.#place = place;
    this.#libraries = libraries;
    this.#ordinal = ordinal;
    this.#scale = scale;
  }

  get bench(): Bench {
    if (this.#bench === null) throw new Error('no ceilings were measured');
    return this.#bench;
  }

  async all(folder: string): Promise<void> {
    // Arenas are of no use to copies.
    const one = { ordinal: this.#ordinal, slots: 1, slotBytes: 8 * MIB };
    const device = openDevice(this.#libraries, one);
    try {
      const { ceilings, cases } = await measureCeilings(this.#libraries, this.#scale);
      const facts = { libraries: this.#libraries, ordinal: this.#ordinal, cores: cpus().length };
      this.#bench = { ...facts, device: device.info, scale: this.#scale, ceilings };
      this.#add(cases);
    } finally {
      device.close();
    }
    for (const name of LAYERS) {
      for await (const dataset of datasetsOf(
        this.#place,
        this.#libraries,
        name,
        folder,
        this.#scale,
      )) {
        await this.#dataset(dataset);
      }
    }
  }

  async #dataset(dataset: Dataset): Promise<void> {
    const { slotBytes, productSlotBytes } = this.#scale;
    const arenas = productSlotBytes === null ? {} : { slotBytes: productSlotBytes };
    await this.#with({ slots: 1, slotBytes }, async (bench) => {
      const cases = await residentCases(bench, dataset);
      this.clocks.push(await busyClocks(bench, dataset));
      return cases;
    });
    await this.#with(arenas, async (bench) => [
      ...(await pinnedCases(bench, dataset)),
      ...(await endToEndCases(bench, dataset)),
    ]);
    await this.#with({ ...arenas, slots: 8 }, (bench) => deviceCases(bench, dataset));
    for (const row of await plannerRows(this.bench, dataset)) {
      this.rows.push(row);
      this.#say(showRow(row), `${row.layer}, ${row.order}, ${row.index}, ${row.rows} rows`);
    }
  }

  async #with(
    options: Omit<OpenDeviceOptions, 'ordinal'>,
    body: (bench: Bench) => Promise<readonly BenchCase[]>,
  ): Promise<void> {
    const device = openDevice(this.#libraries, { ordinal: this.#ordinal, ...options });
    try {
      this.#add(await body({ ...this.bench, device: device.info }));
    } finally {
      device.close();
    }
  }

  #add(cases: readonly BenchCase[]): void {
    for (const one of cases) this.#say(showCase(one), one.case);
    this.cases.push(...cases);
  }

  /** A dry run shows no figure that could be taken for a measurement. */
  #say(figures: string, name: string): void {
    process.stdout.write(this.#scale === DRY ? `ran ${name}\n` : `${figures}\n`);
  }
}

function recordOf(
  place: Place,
  libraries: Libraries,
  run: Run,
  read: Pick<GpuRecord, 'driver' | 'clocks'>,
): GpuRecord {
  return {
    schema: 'tileloom.bench-gpu/1',
    date: new Date().toISOString().slice(0, 10),
    commit: place.commit,
    host: hostFacts(),
    device: run.bench.device,
    driver: read.driver,
    libraries: { device: libraries.device.image, cpu: libraries.cpu.image },
    clocks: read.clocks,
    method: METHOD,
    cases: run.cases,
    planner: tableOf(run.rows),
  };
}
