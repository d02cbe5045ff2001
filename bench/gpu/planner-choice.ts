// Owns the planner's test on a device: for each shape of work both devices are timed, the real planner
// is asked with measured history, and its choice is held against the better one.
//
// Shapes: easy and hard layer × random and tile order × index resident and cold × rows. History is one
// chunk of at most a million rows on each device with the index resident, as a run would have left it.
// Cold: the device was opened anew and its arenas used once, so that only the index is missing.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerKeyOf } from '../../executor/protocol.ts';
import {
  encodeGeometry,
  type GpuEntry,
  type OpenDevice,
  type TileInput,
} from '../../native/index.ts';
import { DEFAULT_POLICY_ID, plan, policyById, type PlanDecision } from '../../planner/index.ts';
import { REGISTRY, type VariantSpec } from '../../registry/index.ts';
import {
  emptyHistory,
  foldOutcome,
  gpuClassOf,
  shapeBucket,
  type DeviceSnapshot,
  type HistoryDigest,
  type TelemetrySnapshot,
} from '../../telemetry/index.ts';
import { CPU, GIB, GPU, GPU_SNAPSHOT, makeInput, WORK } from '../../tests/planner/fixtures.ts';
import type { Bench, Dataset } from './bench-case.ts';
import { cudaVariants } from './check.ts';
import type { ChunkRun } from './chunk.ts';
import { findDevice, openDevice } from './device.ts';
import { repeat, samplesOf, type Samples } from './samples.ts';
import { bestCpuVariant, checkSides, openSides, requireEqual, SUMS, type Sides } from './sides.ts';
import { rowsOf } from './tiles.ts';

const HISTORY_ROWS_MAX = 1_048_576;
const LOSS_MAX = 0.05;
const RULES = { boundary: 'half-open', overlap: 'first' } as const;

export interface ShapeRow {
  readonly layer: string;
  readonly order: string;
  readonly index: 'resident' | 'cold';
  readonly rows: number;
  readonly cpuSeconds: Samples;
  readonly deviceSeconds: Samples;
  readonly chosen: 'cpu' | 'gpu' | 'refused';
  /** Seconds of the choice over those of the better device, less 1; null when refused. */
  readonly loss: number | null;
  readonly within: boolean;
  readonly reasons: readonly string[];
}

export interface PlannerTable {
  readonly policy: string;
  readonly lossMax: number;
  readonly shapes: number;
  readonly within: number;
  readonly rows: readonly ShapeRow[];
}

export function tableOf(rows: readonly ShapeRow[]): PlannerTable {
  const within = rows.filter((row) => row.within).length;
  return { policy: DEFAULT_POLICY_ID, lossMax: LOSS_MAX, shapes: rows.length, within, rows };
}

/** Times every shape of one dataset and asks the planner about each. No device may be open. */
export async function plannerRows(bench: Bench, dataset: Dataset): Promise<readonly ShapeRow[]> {
  const warm = openAnew(bench);
  const opened: Bench = { ...bench, device: warm.info };
  const sides = openSides(opened, dataset, deviceVariant(), SUMS);
  const shapes: Shape[] = [];
  let history: HistoryDigest;
  try {
    history = await measuredHistory(opened, dataset, sides);
    for (const rows of bench.scale.shapeRows) {
      const tiles = tilesFor(dataset, rows);
      const time = (side: Sides['cpu']): Promise<readonly number[]> =>
        repeat(bench.scale.chunkRuns, async () => (await side(tiles)).seconds);
      const expected = await checkSides(sides, tiles, whatOf(dataset, tiles));
      const [cpu, resident] = [await time(sides.cpu), await time(sides.device)];
      shapes.push({ tiles, expected, cpu, resident });
    }
  } finally {
    sides.close();
    warm.close();
  }
  const rows: ShapeRow[] = [];
  for (const shape of shapes) {
    const { tiles, cpu, resident } = shape;
    const cold = await repeat(bench.scale.chunkRuns, () => coldSeconds(bench, dataset, shape));
    for (const [index, device] of [
      ['resident', resident],
      ['cold', cold],
    ] as const) {
      rows.push(judge(bench, dataset, { index, tiles, cpu, device, history }));
    }
  }
  return rows;
}

/** Rows of one length, with the CPU's answer and what both took. */
interface Shape {
  readonly tiles: readonly TileInput[];
  readonly expected: ChunkRun;
  readonly cpu: readonly number[];
  readonly resident: readonly number[];
}

const whatOf = ({ layerName, order }: Dataset, tiles: readonly TileInput[]): string =>
  `planner's shape, ${layerName}, ${order}, ${rowsOf(tiles)} rows`;

function openAnew({ libraries, ordinal, scale }: Bench): OpenDevice {
  const { productSlotBytes } = scale;
  const arenas = productSlotBytes === null ? {} : { slotBytes: productSlotBytes };
  return openDevice(libraries, { ordinal, ...arenas });
}

function tilesFor({ tiles }: Dataset, rows: number): readonly TileInput[] {
  let taken = 0;
  const count = tiles.findIndex((tile) => (taken += tile.rows) >= rows);
  return count < 0 ? tiles : tiles.slice(0, count + 1);
}

async function measuredHistory(
  bench: Bench,
  dataset: Dataset,
  sides: Sides,
): Promise<HistoryDigest> {
  const tiles = tilesFor(dataset, Math.min(HISTORY_ROWS_MAX, bench.scale.rows));
  const rows = rowsOf(tiles);
  const shape = shapeBucket(workOf(dataset, rows));
  const { cpuClass, gpuClass } = classesOf(bench);
  const device = { variant: deviceVariant().id, deviceClass: gpuClass };
  const cpu = { variant: bestCpuVariant(bench.libraries).id, deviceClass: cpuClass };
  let history = emptyHistory();
  for (const [facts, run] of [
    [cpu, sides.cpu],
    [device, sides.device],
  ] as const) {
    await run(tiles);
    const { seconds } = await run(tiles);
    const outcome = { shape, rows, seconds, predictedSeconds: seconds, failed: false };
    history = foldOutcome(history, { ...facts, ...outcome });
  }
  return history;
}

/**
 * Opens the device anew, uses its arenas with a layer of one box, then times the chunk. A check before
 * would leave the index there: the timed answer is checked.
 */
async function coldSeconds(
  bench: Bench,
  dataset: Dataset,
  { tiles, expected }: Pick<Shape, 'tiles' | 'expected'>,
): Promise<number> {
  const device = openAnew(bench);
  const opened: Bench = { ...bench, device: device.info };
  const other = openSides(opened, await boxLayer(opened, dataset), deviceVariant(), SUMS);
  const sides = openSides(opened, dataset, deviceVariant(), SUMS);
  try {
    await other.device(dataset.tiles.slice(0, 64));
    const run = await sides.device(tiles);
    requireEqual(run, expected, `${whatOf(dataset, tiles)}, cold`);
    return run.seconds;
  } finally {
    other.close();
    sides.close();
    device.close();
  }
}

async function boxLayer({ libraries }: Bench, dataset: Dataset): Promise<Dataset> {
  const { minX, minY, maxX, maxY } = dataset.layer.box;
  const ring = [
    ...[
      [minX, minY],
      [maxX, minY],
      [maxX, maxY],
      [minX, maxY],
    ],
    [minX, minY],
  ];
  const geometryPath = join(dataset.indexPath, '..', 'box.tlgeom');
  const indexPath = `${geometryPath}.tlidx`;
  writeFileSync(geometryPath, encodeGeometry([{ type: 'Polygon', coordinates: [ring] }]));
  await libraries.cpu.buildIndex({ geometryPath, indexPath, ...RULES, durable: false });
  return { ...dataset, layer: { ...dataset.layer, geometryPath }, indexPath };
}

interface Timed {
  readonly index: ShapeRow['index'];
  readonly tiles: readonly TileInput[];
  readonly cpu: readonly number[];
  readonly device: readonly number[];
  readonly history: HistoryDigest;
}

function judge(bench: Bench, dataset: Dataset, timed: Timed): ShapeRow {
  const rows = rowsOf(timed.tiles);
  const decision = askPlanner(bench, dataset, timed, rows);
  const chosen = decision.schema === 'tileloom.plan/1' ? decision.runtime : 'refused';
  const cpuSeconds = samplesOf(timed.cpu);
  const deviceSeconds = samplesOf(timed.device);
  const best = Math.min(cpuSeconds.median, deviceSeconds.median);
  const taken = { cpu: cpuSeconds.median, gpu: deviceSeconds.median, refused: null }[chosen];
  const loss = taken === null ? null : Number((taken / best - 1).toFixed(4));
  return {
    ...{ layer: dataset.layerName, order: dataset.order, index: timed.index, rows },
    ...{ cpuSeconds, deviceSeconds, chosen, loss, within: loss !== null && loss <= LOSS_MAX },
    reasons: decision.reasons.map((one) => one.code),
  };
}

function askPlanner(
  bench: Bench,
  dataset: Dataset,
  { index, history }: Timed,
  rows: number,
): PlanDecision {
  const work = { ...workOf(dataset, rows), layer: layerKey(dataset) };
  const resident = index === 'resident' ? [work.layer] : [];
  const input = makeInput({
    ...{ policyId: DEFAULT_POLICY_ID, history, work, snapshot: snapshotOf(bench, resident) },
    where: { chunk: 3, reservedTiles: Math.ceil(rows / bench.scale.tileRows) },
    limits: { memoryBytesMax: 16 * GIB, chunkSecondsTarget: 2 },
  });
  return plan(input, policyById(DEFAULT_POLICY_ID), REGISTRY);
}

function workOf(dataset: Dataset, rows: number): typeof WORK {
  const { layer, order, indexBytes, tiles } = dataset;
  const features = layer.areas.length;
  return {
    ...WORK,
    ...{ families: ['point'], mixed: false, shape: 'broadcast-right', rows, remainingRows: rows },
    ...{ features, vertices: layer.vertices, indexBytes, tileRows: tiles[0]?.rows ?? 1 },
    meanVertices: Math.round((layer.vertices / features) * 100) / 100,
    ...{ chunkIndex: 3, ordered: order === 'tile order' },
  };
}

function layerKey({ layer }: Dataset): string {
  const sha256 = createHash('sha256').update(readFileSync(layer.geometryPath)).digest('hex');
  return layerKeyOf({ geometry: { sha256 }, ...RULES });
}

/** An idle host with this processor and this device. */
function snapshotOf(bench: Bench, resident: readonly string[]): TelemetrySnapshot {
  const { device, cores, libraries } = bench;
  const entry: GpuEntry = findDevice(libraries, bench.ordinal);
  const { cpuClass, gpuClass } = classesOf(bench);
  const idle = { utilizationPct: 0, slotsBusy: 0 };
  const cpu: DeviceSnapshot = { ...CPU, ...idle, deviceClass: cpuClass };
  const gpu: DeviceSnapshot = {
    ...{ ...GPU, ...idle, deviceId: device.uuid, name: device.name, deviceClass: gpuClass },
    ...{ memTotalBytes: device.memTotalBytes, memFreeBytes: device.memoryBytesMax },
    fp64Ratio: entry.fp64Ratio,
    gpu: {
      ...{ powerWatts: null, clockEvents: null, eccErrors: null, pcieGeneration: null },
      resident,
    },
  };
  const isa = [
    ...new Set([...GPU_SNAPSHOT.isa.filter((one) => one !== 'avx2'), ...libraries.cpu.isa]),
  ];
  return { ...GPU_SNAPSHOT, cores, isa, devices: [cpu, gpu] };
}

function classesOf({ libraries, device }: Bench): {
  readonly cpuClass: string;
  readonly gpuClass: string;
} {
  const cpuClass = libraries.cpu.isa.includes('avx2') ? 'cpu-avx2' : 'cpu-scalar';
  return { cpuClass, gpuClass: gpuClassOf(device.capability) };
}

/** The planner chooses among registered variants only. */
function deviceVariant(): VariantSpec {
  const [first] = cudaVariants();
  if (first === undefined) throw new Error('the registry has no variant for a device');
  return first;
}

export function showRow(row: ShapeRow): string {
  const seconds = (one: Samples): string => one.median.toPrecision(3).padStart(9);
  const verdict = row.within ? 'within' : 'LOSES';
  const loss = row.loss === null ? 'refused' : `${(100 * row.loss).toFixed(1)} %`;
  const shape = `${row.layer}, ${row.order}, ${row.index}`.padEnd(34);
  const times = `cpu ${seconds(row.cpuSeconds)} s  gpu ${seconds(row.deviceSeconds)} s`;
  return `${verdict.padEnd(7)} ${shape} ${String(row.rows).padStart(11)}  ${times}  ${row.chosen.padEnd(7)} ${loss}`;
}
