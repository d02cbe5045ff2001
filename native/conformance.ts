// Owns the check of a variant against the conformance corpus (tests/fixtures/corpus/README.md):
// orientation signs, points in polygons under every boundary and overlap rule, and sums, all
// computed with exact rationals.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BoundaryRule, OverlapRule, VariantSpec } from '../registry/index.ts';
import { NativeError } from './errors.ts';
import { encodeGeometry, type AreaGeometry } from './geometry-encoding.ts';
import type { AssignOptions, KernelLibrary } from './types.ts';

export interface ConformanceFailure {
  readonly check: 'orientation' | 'point-in-polygon' | 'sums';
  readonly id: string;
  readonly message: string;
}

export interface ConformanceReport {
  readonly variant: string;
  /** Answers compared: one per orientation, per point and rule, per field of a sum. */
  readonly checked: {
    readonly orientation: number;
    readonly points: number;
    readonly sums: number;
  };
  readonly failed: number;
  /** The first of them. */
  readonly failures: readonly ConformanceFailure[];
}

type JsonNumber = number | 'NaN' | 'Infinity' | '-Infinity';

interface OrientationCase {
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly p: readonly number[];
  readonly sign: number;
  readonly tag: string;
}

interface PolygonCase {
  readonly id: string;
  readonly features: readonly AreaGeometry[];
  readonly points: readonly (readonly [JsonNumber, JsonNumber])[];
  readonly halfOpenFirst: readonly number[];
  readonly halfOpenAll: readonly (readonly number[])[];
  readonly covers: readonly (readonly number[])[];
  readonly contains: readonly (readonly number[])[];
  readonly invalid: readonly number[];
}

interface SumCase {
  readonly id: string;
  readonly values: readonly (JsonNumber | null)[];
  readonly count: number;
  readonly nulls: number;
  readonly nans: number;
  readonly sum: string | null;
  readonly mean: string | null;
  readonly min: string | null;
  readonly max: string | null;
}

const FAILURES_KEPT = 20;
const BOUNDARIES: readonly BoundaryRule[] = ['half-open', 'covers', 'contains'];
const OVERLAPS: readonly OverlapRule[] = ['first', 'all', 'error'];

/** Where a variant comes from, when it is not of this library. */
export interface ConformanceOptions {
  readonly assignLibrary?: string | null;
}

/**
 * Runs the whole corpus.
 *
 * @param variant its symbol, rules and need for an index are looked at
 * @param corpusDir folder with orientation.jsonl, point-in-polygon.jsonl and sums.jsonl
 */
export async function verifyVariant(
  library: KernelLibrary,
  variant: Pick<VariantSpec, 'id' | 'symbol' | 'needsIndex' | 'boundaries' | 'overlaps'>,
  corpusDir: string,
  options: ConformanceOptions = {},
): Promise<ConformanceReport> {
  const tally = new Tally();
  checkOrientation(library, corpusDir, tally);
  checkSums(library, corpusDir, tally);
  const folder = mkdtempSync(join(tmpdir(), 'tileloom-verify-'));
  try {
    for (const one of readLines<PolygonCase>(corpusDir, 'point-in-polygon.jsonl')) {
      await checkPolygons(library, variant, options.assignLibrary ?? null, one, folder, tally);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    variant: variant.id,
    checked: { orientation: tally.orientation, points: tally.points, sums: tally.sums },
    failed: tally.failed,
    failures: tally.failures,
  };
}

class Tally {
  orientation = 0;
  points = 0;
  sums = 0;
  failed = 0;
  readonly failures: ConformanceFailure[] = [];

  fail(check: ConformanceFailure['check'], id: string, message: string): void {
    this.failed += 1;
    if (this.failures.length < FAILURES_KEPT) {
      this.failures.push({ check, id, message });
    }
  }
}

function readLines<T>(folder: string, name: string): T[] {
  let text: string;
  try {
    text = readFileSync(join(folder, name), 'utf8');
  } catch (cause) {
    throw new NativeError(
      'IO_ERROR',
      `corpus file ${join(folder, name)} cannot be read; name a folder that holds the corpus`,
      { cause },
    );
  }
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

function checkOrientation(library: KernelLibrary, corpusDir: string, tally: Tally): void {
  readLines<OrientationCase>(corpusDir, 'orientation.jsonl').forEach((one, index) => {
    const sign = library.orientationSign(one.a, one.b, one.p);
    tally.orientation += 1;
    if (sign !== one.sign) {
      const message = `sign differs: expected ${one.sign}, got ${sign}`;
      tally.fail('orientation', `${one.tag} line ${index + 1}`, message);
    }
  });
}

function checkSums(library: KernelLibrary, corpusDir: string, tally: Tally): void {
  for (const one of readLines<SumCase>(corpusDir, 'sums.jsonl')) {
    const values = one.values.map((value) => (value === null ? null : Number(value)));
    for (const splits of [1, 3]) {
      const got = library.exactSum(values, splits);
      const pairs: [string, string | number | null, string | number | null][] = [
        ['count', one.count, got.count],
        ['nulls', one.nulls, got.nulls],
        ['nans', one.nans, got.nans],
        ['sum', one.sum, hexOf(got.sum)],
        ['mean', one.mean, hexOf(got.mean)],
        ['min', one.min, hexOf(got.min)],
        ['max', one.max, hexOf(got.max)],
      ];
      for (const [field, expected, answer] of pairs) {
        tally.sums += 1;
        if (expected !== answer) {
          const subject = `${field} in ${splits} splits`;
          const message = `${subject} differs: expected ${expected}, got ${answer}`;
          tally.fail('sums', one.id, message);
        }
      }
    }
  }
}

/** C99-style hexadecimal, as the corpus spells it. */
function hexOf(value: number | null): string | null {
  if (value === null) {
    return null;
  }
  if (Number.isNaN(value)) {
    return 'nan';
  }
  if (!Number.isFinite(value)) {
    return value > 0 ? 'inf' : '-inf';
  }
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const sign = bits >> 63n === 1n ? '-' : '';
  const biased = Number((bits >> 52n) & 2047n);
  const fraction = (bits & ((1n << 52n) - 1n)).toString(16).padStart(13, '0');
  if (biased === 0 && /^0+$/.test(fraction)) {
    return `${sign}0x0.0p+0`;
  }
  const exponent = biased === 0 ? -1022 : biased - 1023;
  return `${sign}0x${biased === 0 ? 0 : 1}.${fraction}p${exponent < 0 ? '' : '+'}${exponent}`;
}

type VerifiedVariant = Pick<VariantSpec, 'symbol' | 'needsIndex' | 'boundaries' | 'overlaps'>;

async function checkPolygons(
  library: KernelLibrary,
  variant: VerifiedVariant,
  assignLibrary: string | null,
  one: PolygonCase,
  folder: string,
  tally: Tally,
): Promise<void> {
  const geometryPath = join(folder, 'layer.tlgeom');
  const indexPath = join(folder, 'layer.tlidx');
  writeFileSync(geometryPath, encodeGeometry(one.features));
  const x = Float64Array.from(one.points, (point) => Number(point[0]));
  const y = Float64Array.from(one.points, (point) => Number(point[1]));
  for (const boundary of BOUNDARIES.filter((rule) => variant.boundaries.includes(rule))) {
    for (const overlap of OVERLAPS.filter((rule) => variant.overlaps.includes(rule))) {
      if (variant.needsIndex) {
        await library.buildIndex({ geometryPath, indexPath, boundary, overlap, durable: false });
      }
      const layer = library.openLayer({
        geometryPath,
        indexPath: variant.needsIndex ? indexPath : null,
      });
      try {
        const { symbol } = variant;
        const rules = { layer, symbol, assignLibrary, boundary, overlap, wrap: false };
        await comparePoints(library, rules, one, x, y, tally);
      } finally {
        layer.close();
      }
    }
  }
}

function expectedOf(one: PolygonCase, boundary: BoundaryRule): readonly (readonly number[])[] {
  return boundary === 'half-open' ? one.halfOpenAll : one[boundary];
}

async function comparePoints(
  library: KernelLibrary,
  rules: AssignOptions,
  one: PolygonCase,
  x: Float64Array,
  y: Float64Array,
  tally: Tally,
): Promise<void> {
  const invalid = new Set(one.invalid);
  const expected = expectedOf(one, rules.boundary).map((features, point) =>
    invalid.has(point) ? 'invalid' : features.join(' '),
  );
  const fail = (point: number, wanted: string, got: string): void =>
    tally.fail(
      'point-in-polygon',
      one.id,
      `point ${point} under ${rules.boundary}, ${rules.overlap} differs: ` +
        `expected [${wanted}], got [${got}]`,
    );
  tally.points += x.length;
  if (rules.overlap === 'all') {
    const answer = await library.assignAllPairs(rules, x, y);
    let from = 0;
    expected.forEach((wanted, point) => {
      const count = answer.counts[point] ?? 0;
      const found = answer.features.subarray(from, from + Math.max(count, 0));
      from += found.length;
      const got = count === -2 ? 'invalid' : found.join(' ');
      if (got !== wanted) {
        fail(point, wanted, got);
      }
    });
    return;
  }
  if (rules.overlap === 'error') {
    await compareError(library, rules, expected, x, y, fail);
    return;
  }
  const ids = await library.assignPoints(rules, x, y);
  expected.forEach((wanted, point) => {
    const first = wanted === 'invalid' ? '-2' : (wanted.split(' ')[0] ?? '');
    const got = String(ids[point]);
    if (got !== (first === '' ? '-1' : first)) {
      fail(point, wanted, got);
    }
  });
}

/** Points before the first overlap get their feature; the overlap is reported with its row. */
async function compareError(
  library: KernelLibrary,
  rules: AssignOptions,
  expected: readonly string[],
  x: Float64Array,
  y: Float64Array,
  fail: (point: number, wanted: string, got: string) => void,
): Promise<void> {
  const overlapping = expected.findIndex((features) => features.includes(' '));
  const end = overlapping < 0 ? expected.length : overlapping;
  const ids = await library.assignPoints(rules, x.slice(0, end), y.slice(0, end));
  for (let point = 0; point < end; point += 1) {
    const wanted = expected[point] ?? '';
    const got = ids[point] === -2 ? 'invalid' : ids[point] === -1 ? '' : String(ids[point]);
    if (got !== wanted) {
      fail(point, wanted, got);
    }
  }
  if (overlapping < 0) {
    return;
  }
  try {
    await library.assignPoints(rules, x, y);
    fail(overlapping, 'OVERLAP_FOUND', 'no error');
  } catch (error) {
    if (!(error instanceof NativeError) || error.code !== 'OVERLAP_FOUND') {
      throw error;
    }
    if (error.details['row'] !== overlapping) {
      fail(overlapping, `row ${overlapping}`, `row ${String(error.details['row'])}`);
    }
  }
}
