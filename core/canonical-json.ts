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
  if (value === null || typeof value === 'boolean' || typeof value === 'string') {
    return JSON.stringify(value);
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) {
      throw new TypeError(`canonical JSON cannot hold the number ${value}`);
    }
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return arrayJson(value);
  }
  if (typeof value === 'object') {
    return objectJson(value as Readonly<Record<string, unknown>>);
  }
  throw new TypeError(`canonical JSON cannot hold a ${typeof value}`);
}

// Plans are hashed for each chunk, so these two build their text without intermediate lists.

function arrayJson(items: readonly unknown[]): string {
  let text = '[';
  for (let index = 0; index < items.length; index += 1) {
    text += (index === 0 ? '' : ',') + canonicalJson(items[index]);
  }
  return `${text}]`;
}

function objectJson(record: Readonly<Record<string, unknown>>): string {
  let text = '{';
  for (const key of Object.keys(record).toSorted()) {
    const item = record[key];
    if (item !== undefined) {
      text += `${text === '{' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(item)}`;
    }
  }
  return `${text}}`;
}
