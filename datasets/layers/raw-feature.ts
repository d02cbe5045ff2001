// Owns the form in which every reader hands a feature over: flat coordinates with ring and part ends,
// plus what the reader already found wrong. One instance is reused for all features of a file.
import { growableFloat64, growableUint32 } from './growable.ts';
import type { LayerFindingCode } from './errors.ts';

export interface RawProblem {
  readonly code: LayerFindingCode;
  readonly message: string;
}

const PROBLEMS_MAX = 1000;

export class RawFeature {
  /** Position in the input, from 0. */
  position = 0;
  id: string | null = null;
  name: string | null = null;
  readonly x = growableFloat64();
  readonly y = growableFloat64();
  /** End of each ring in vertices, and of each part in rings. */
  readonly ringEnds = growableUint32();
  readonly partEnds = growableUint32();
  problems: RawProblem[] = [];

  clear(position: number): void {
    this.position = position;
    this.id = null;
    this.name = null;
    this.problems = [];
    this.clearGeometry();
  }

  /** Forgets the geometry: the last of two members with one name counts, as in JSON.parse. */
  clearGeometry(): void {
    this.x.length = 0;
    this.y.length = 0;
    this.ringEnds.length = 0;
    this.partEnds.length = 0;
  }

  vertex(x: number, y: number): void {
    this.x.push(x);
    this.y.push(y);
  }

  endRing(): void {
    this.ringEnds.push(this.x.length);
  }

  endPart(): void {
    const before =
      this.partEnds.length === 0 ? 0 : (this.partEnds.data[this.partEnds.length - 1] ?? 0);
    if (this.ringEnds.length > before) this.partEnds.push(this.ringEnds.length);
  }

  problem(code: LayerFindingCode, message: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push({ code, message });
  }
}

/** Receives one feature after another; the instance is reused, so nothing of it may be kept. */
export type FeatureSink = (feature: RawFeature) => void;

/** How a reader names features. */
export interface NamingOptions {
  /** Property that names a feature, or `@id` for the feature's own id. */
  readonly id: string;
}

const NAME_PROPERTIES = ['name', 'NAME', 'Name', 'name_en', 'NAME_EN', 'ADMIN', 'admin', 'title'];

/**
 * Reads a feature's id and display name. Ids are non-empty strings or finite numbers, the latter in
 * their shortest decimal form.
 */
export function nameFeature(
  feature: RawFeature,
  ownId: unknown,
  properties: unknown,
  naming: NamingOptions,
): void {
  const record = (
    typeof properties === 'object' && properties !== null ? properties : {}
  ) as Readonly<Record<string, unknown>>;
  const value = naming.id === '@id' ? ownId : ownValue(record, naming.id);
  feature.id = idText(value);
  if (feature.id === null) {
    const field = naming.id === '@id' ? 'its own id' : `property "${naming.id}"`;
    const known = Object.keys(record).slice(0, 8).join(', ') || 'none';
    feature.problem(
      'LAYER_ID_MISSING',
      `${field}: expected text or a number, got ${describeValue(value)}; ` +
        `choose another id (properties here: ${known})`,
    );
  }
  for (const key of NAME_PROPERTIES) {
    const name = key === naming.id ? null : ownValue(record, key);
    if (typeof name === 'string' && name !== '') {
      feature.name = name;
      return;
    }
  }
}

function ownValue(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

function idText(value: unknown): string | null {
  if (typeof value === 'string') return value === '' ? null : value;
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : null;
  return typeof value === 'bigint' ? String(value) : null;
}

export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (value === '') return 'empty text';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  const text = typeof value === 'string' ? value : (value as number | boolean | bigint).toString();
  return `${typeof value} ${text.slice(0, 40)}`;
}
