// Owns the field-level difference of two JSON values: which paths differ, and how.
//
// I1. Two values differ nowhere exactly when their canonical JSON is equal: `undefined` is absent, and
//     the order of keys does not count.
// I2. Differences come in the order of canonical JSON: keys by code unit, items by index.

/** One place where two values differ; a side that lacks it altogether is undefined. */
export interface FieldDifference {
  /** Keys and indexes from the root, with dots: `candidates.0.score`; empty for the root itself. */
  readonly path: string;
  readonly left: unknown;
  readonly right: unknown;
}

/** Lists the places where two JSON values differ, as deep as both sides have a value there. */
export function fieldDifferences(left: unknown, right: unknown): readonly FieldDifference[] {
  const found: FieldDifference[] = [];
  compare('', left, right, found);
  return found;
}

/** Whether two JSON values have the same canonical JSON. */
export function isSameJson(left: unknown, right: unknown): boolean {
  if (left === right) {
    return true;
  }
  if (!isContainer(left) || !isContainer(right)) {
    return false;
  }
  if (Array.isArray(left) || Array.isArray(right)) {
    return (
      Array.isArray(left) &&
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, index) => isSameJson(item, right[index]))
    );
  }
  let present = 0;
  for (const key in left) {
    if (left[key] !== undefined) {
      present += 1;
      if (!isSameJson(left[key], right[key])) {
        return false;
      }
    }
  }
  for (const key in right) {
    if (right[key] !== undefined) {
      present -= 1;
    }
  }
  return present === 0;
}

type Container = Readonly<Record<string, unknown>>;

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

function compare(path: string, left: unknown, right: unknown, found: FieldDifference[]): void {
  const comparable =
    isContainer(left) && isContainer(right) && Array.isArray(left) === Array.isArray(right);
  if (!comparable) {
    if (left !== right) {
      found.push({ path, left, right });
    }
    return;
  }
  for (const key of keysOf(left, right)) {
    compare(path === '' ? key : `${path}.${key}`, own(left, key), own(right, key), found);
  }
}

/** A key that only the prototype has is absent. */
function own(record: Container, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function keysOf(left: Container, right: Container): readonly string[] {
  if (Array.isArray(left) && Array.isArray(right)) {
    return Array.from({ length: Math.max(left.length, right.length) }, (_, index) => String(index));
  }
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].toSorted();
}
