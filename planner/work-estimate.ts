// Owns the estimate of physical work: what a step will touch, and the one number dispatch compares.
//
// Rows mislead when rows are uneven: ten rows may have a million candidate pairs. Bytes count too,
// at 64 output bytes or 128 temporary bytes per unit.

/** Counts of physical work; what is left out is zero. All are whole numbers from 0. */
export interface WorkCounts {
  readonly rows?: number;
  readonly coordinates?: number;
  readonly coordinatePairs?: number;
  readonly segments?: number;
  readonly segmentPairs?: number;
  readonly parts?: number;
  readonly partPairs?: number;
  readonly rings?: number;
  readonly candidatePairs?: number;
  readonly relationPairs?: number;
  readonly groups?: number;
  readonly outputRows?: number;
  readonly outputBytes?: number;
  readonly temporaryBytes?: number;
}

export interface PrimaryUnit {
  readonly name: string;
  readonly count: number;
}

export interface WorkUnits {
  readonly unit: string;
  readonly count: number;
}

const OUTPUT_BYTES_PER_UNIT = 64;
const TEMPORARY_BYTES_PER_UNIT = 128;

/** The dispatch units of an estimate: its primary unit if it has one, else its largest count. */
export function dispatchUnits(counts: WorkCounts, primary: PrimaryUnit | null = null): WorkUnits {
  if (primary !== null) {
    return { unit: primary.name, count: primary.count };
  }
  const { outputBytes = 0, temporaryBytes = 0, ...plain } = counts;
  let largest: WorkUnits = { unit: 'rows', count: counts.rows ?? 0 };
  const candidates: [string, number][] = [
    ...Object.entries(plain),
    ['outputBytes', Math.ceil(outputBytes / OUTPUT_BYTES_PER_UNIT)],
    ['temporaryBytes', Math.ceil(temporaryBytes / TEMPORARY_BYTES_PER_UNIT)],
  ];
  for (const [unit, count] of candidates) {
    if (count > largest.count) {
      largest = { unit, count };
    }
  }
  return largest;
}

/** Whether output and temporary bytes fit a share of free memory (default one half). */
export function fitsFreeMemory(counts: WorkCounts, freeBytes: number, share = 0.5): boolean {
  return (counts.outputBytes ?? 0) + (counts.temporaryBytes ?? 0) <= freeBytes * share;
}

/** Scales counts of a base array to a view that repeats its rows (`take` with repeats). */
export function scaledToRows(counts: WorkCounts, logicalRows: number): WorkCounts {
  const baseRows = counts.rows ?? 0;
  if (baseRows === 0) {
    return { ...counts, rows: logicalRows };
  }
  const scaled = Object.entries(counts).map(([key, value]: [string, number]) => [
    key,
    Math.ceil((value * logicalRows) / baseRows),
  ]);
  return Object.fromEntries(scaled) as WorkCounts;
}

/** Segment pairs of linestrings that are each tested against themselves: n·(n − 1)/2 a row. */
export function selfSegmentPairs(coordinates: number, rows: number): number {
  if (rows === 0) {
    return 0;
  }
  const segmentsPerRow = Math.max(0, coordinates / rows - 1);
  return Math.ceil((rows * segmentsPerRow * (segmentsPerRow - 1)) / 2);
}

/**
 * Admits as many units as fit what is left: all of them, or the largest number that does.
 *
 * @param requiredBytes bytes that all `units` need together
 */
export function admitUnits(
  requiredBytes: number,
  units: number,
  remainingBytes: number,
): { readonly admitted: boolean; readonly bytesPerUnit: number; readonly units: number } {
  const bytesPerUnit = units === 0 ? 0 : Math.ceil(requiredBytes / units);
  if (requiredBytes <= remainingBytes) {
    return { admitted: true, bytesPerUnit, units };
  }
  return { admitted: false, bytesPerUnit, units: Math.floor(remainingBytes / bytesPerUnit) };
}
