// Owns reading a published result for the demo: the features with the largest value of one column.
import { readFile } from 'node:fs/promises';
import { tableFromIPC } from 'apache-arrow';

export interface TopFeature {
  readonly id: string;
  readonly name: string | null;
  readonly value: number;
}

/** Reads an Arrow result and returns the `limit` features with the largest value. */
export async function topFeatures(
  file: string,
  column: string,
  limit: number,
): Promise<TopFeature[]> {
  const table = tableFromIPC(await readFile(file));
  const ids = table.getChild('id');
  const names = table.getChild('name');
  const values = table.getChild(column);
  if (ids === null || values === null) {
    const found = table.schema.fields.map((field) => field.name).join(', ');
    throw new TypeError(`result ${file} lacks a column: expected id and ${column}, got ${found}`);
  }
  const features: TopFeature[] = [];
  for (let row = 0; row < table.numRows; row += 1) {
    const value: unknown = values.get(row);
    if (value !== null && Number(value) > 0) {
      const name: unknown = names?.get(row) ?? null;
      features.push({
        id: String(ids.get(row)),
        name: typeof name === 'string' ? name : null,
        value: Number(value),
      });
    }
  }
  return features
    .toSorted((left, right) => right.value - left.value || (left.id < right.id ? -1 : 1))
    .slice(0, limit);
}
