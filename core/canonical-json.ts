// Owns the one byte form of a JSON value: keys sorted by code unit, no spaces, shortest numbers.
// Digests of specs, plans and registries are taken over this form, so it must never change.

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue | undefined };

/**
 * Serialises a JSON value canonically. Properties whose value is `undefined` are left out.
 *
 * @throws {TypeError} on NaN, infinities, functions and other values that JSON cannot hold
 */
export function canonicalJson(value: unknown): string {
  // Plans are hashed for each chunk and again when they are replayed: the commonest kinds come first.
  switch (typeof value) {
    case 'string':
      return stringJson(value);
    case 'number':
      if (!Number.isFinite(value)) {
        throw new TypeError(`canonical JSON cannot hold the number ${value}`);
      }
      // As JSON.stringify writes them, negative zero included.
      return `${value}`;
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) {
        return 'null';
      }
      return Array.isArray(value)
        ? arrayJson(value)
        : objectJson(value as Readonly<Record<string, unknown>>);
    default:
      throw new TypeError(`canonical JSON cannot hold a ${typeof value}`);
  }
}

// These build their text without intermediate lists.

function arrayJson(items: readonly unknown[]): string {
  if (items.length === 0) {
    return '[]';
  }
  let text = `[${canonicalJson(items[0])}`;
  for (let index = 1; index < items.length; index += 1) {
    text += `,${canonicalJson(items[index])}`;
  }
  return `${text}]`;
}

function objectJson(record: Readonly<Record<string, unknown>>): string {
  const keys = Object.keys(record);
  sortShort(keys);
  let text = '';
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index] as string;
    const item = record[key];
    if (item !== undefined) {
      text += `${text === '' ? '{' : ','}${keyJson(key)}${canonicalJson(item)}`;
    }
  }
  return text === '' ? '{}' : `${text}}`;
}

/** Keys up to which inserting beats the engine's sort. */
const SHORT = 32;

/** Sorts by code unit, in place. */
function sortShort(keys: string[]): void {
  if (keys.length > SHORT) {
    keys.sort();
    return;
  }
  for (let index = 1; index < keys.length; index += 1) {
    const key = keys[index] as string;
    let at = index;
    while (at > 0 && (keys[at - 1] as string) > key) {
      keys[at] = keys[at - 1] as string;
      at -= 1;
    }
    keys[at] = key;
  }
}

/** Keys as they are written, colon included: a program uses few, so the first ones stay. */
const KEYS = new Map<string, string>();
const KEYS_MAX = 1_024;

function keyJson(key: string): string {
  const known = KEYS.get(key);
  if (known !== undefined) {
    return known;
  }
  const text = `${stringJson(key)}:`;
  if (KEYS.size < KEYS_MAX) {
    KEYS.set(key, text);
  }
  return text;
}

/** Printable ASCII without quote and backslash stands as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

function stringJson(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
