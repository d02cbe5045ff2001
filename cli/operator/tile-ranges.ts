// Owns tile ranges as people type them: `3-7,9`.
import type { TileRange } from '../../operator/index.ts';
import { CliError } from '../errors.ts';

const RANGE = /^(\d{1,12})(?:-(\d{1,12}))?$/;

/**
 * Parses tile ranges; the result is ascending and disjoint.
 *
 * @throws {CliError} `CLI_USAGE`
 */
export function parseTileRanges(text: string): TileRange[] {
  const ranges = text
    .split(',')
    .map((part) => parseTileRange(part.trim(), text))
    .toSorted((left, right) => left.firstTile - right.firstTile);
  const merged: TileRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && range.firstTile <= last.endTile) {
      merged[merged.length - 1] = { ...last, endTile: Math.max(last.endTile, range.endTile) };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** Parses one range, both ends included: `3-7`, `9`. */
export function parseTileRange(part: string, text = part): TileRange {
  const match = RANGE.exec(part);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || last < first) {
    throw new CliError(
      'CLI_USAGE',
      `tiles ${JSON.stringify(text)} are not valid: expected ranges such as 3-7,9 with the smaller ` +
        `tile first, got ${JSON.stringify(part)}`,
    );
  }
  return { firstTile: first, endTile: last + 1 };
}

/** `3-7, 9` of ascending tiles; what is left out after `max` ranges is counted. */
export function formatTiles(tiles: readonly number[], max = 6): string {
  const ranges: { first: number; last: number }[] = [];
  for (const tile of tiles) {
    const last = ranges.at(-1);
    if (last !== undefined && tile === last.last + 1) {
      last.last = tile;
    } else {
      ranges.push({ first: tile, last: tile });
    }
  }
  const shown = ranges
    .slice(0, max)
    .map(({ first, last }) =>
      first === last ? String(first) : `${String(first)}-${String(last)}`,
    );
  const more = ranges.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${String(more)} more`] : [])].join(', ');
}
