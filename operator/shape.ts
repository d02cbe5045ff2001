// Owns checks of values that came from outside and may be any JSON: each returns what is wrong, as
// `<path>: expected …, got …`, or null.
import { escapeControl } from './escape-control.ts';

export type Check = (path: string, value: unknown) => string | null;

/** The first problem of several checks, in order. */
export function firstOf(checks: Iterable<string | null>): string | null {
  for (const problem of checks) if (problem !== null) return problem;
  return null;
}

export function problem(path: string, expected: string, got: unknown): string {
  return `${path}: expected ${expected}, got ${shown(got)}`;
}

const SHOWN_MAX = 60;

/** A value as messages show it: short, on one line. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol') {
    return `a ${typeof value}`;
  }
  const short = typeof value === 'string' ? value.slice(0, SHOWN_MAX) : value;
  const text = Array.isArray(short) ? `a list of ${short.length}` : textOf(short);
  return escapeControl(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const keys = Object.keys(value);
  return keys.length === 0
    ? 'an empty object'
    : `an object with ${keys
        .slice(0, 8)
        .map((key) => key.slice(0, 20))
        .join(', ')}`;
}

export function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}

/**
 * An object with exactly these keys: a key that is not known may mean something that this version
 * would leave undone.
 */
export function object(checks: Readonly<Record<string, Check>>): Check {
  return (path, value) => {
    const record = asRecord(value);
    if (record === null) return problem(path, 'an object', value);
    const names = Object.keys(checks);
    const unknown = Object.keys(record).find(
      (key) => record[key] !== undefined && !Object.hasOwn(checks, key),
    );
    if (unknown !== undefined) {
      return `${path}: expected only ${names.join(', ')}, got ${shown(unknown)}, too`;
    }
    return firstOf(
      names.map((key) => checks[key]?.(`${path}.${key}`, ownValue(record, key)) ?? null),
    );
  };
}

export function ownValue(record: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** Accepts what the check accepts, and null. */
export function orNull(check: Check): Check {
  return (path, value) => (value === null ? null : alsoExpecting('null', path, check(path, value)));
}

/** Adds an alternative to a problem of the value itself; problems of its parts stay as they are. */
export function alsoExpecting(other: string, path: string, found: string | null): string | null {
  const start = `${path}: expected `;
  return found?.startsWith(start) === true
    ? `${start}${other} or ${found.slice(start.length)}`
    : found;
}

export function oneOf(values: readonly unknown[]): Check {
  const expected = values.map((value) => String(value)).join(' | ');
  return (path, value) => (values.includes(value) ? null : problem(path, expected, value));
}

export function wholeNumber(min: number, max: number, unit: string): Check {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
  return (path, value) =>
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
      ? null
      : problem(path, `a whole number ${bounds}${unit === '' ? '' : ` ${unit}`}`, value);
}

/** Text of so many characters (code points); white space alone counts as none. */
export function text(min: number, max: number): Check {
  return (path, value) => {
    const expected = `text of ${min} to ${max} characters`;
    if (typeof value !== 'string') return problem(path, expected, value);
    const characters = value.length > 2 * max ? value.length : Array.from(value).length;
    if (characters > max) return `${path}: expected ${expected}, got ${characters}`;
    return value.trim().length < min ? problem(path, expected, value) : null;
  };
}

export function list(min: number, max: number, item: Check): Check {
  return (path, value) => {
    if (!Array.isArray(value)) return problem(path, `a list of ${min} to ${max}`, value);
    if (value.length < min || value.length > max) {
      return problem(path, `a list of ${min} to ${max}`, value);
    }
    return firstOf(value.map((one, index) => item(`${path}.${index}`, one)));
  };
}
