// Owns sizes written with a unit (`2 GiB`, `512 MB`): the only way a spec states bytes.

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

export const SIZE_PATTERN: RegExp =
  /^\s*(\d{1,15}(?:\.\d{1,6})?)\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$/;

/** Parses a size with a unit into whole bytes (rounded down); null when it is not one. */
export function parseSize(text: string): number | null {
  const match = SIZE_PATTERN.exec(text);
  const unit = match?.[2] === undefined ? undefined : UNITS[match[2]];
  if (match?.[1] === undefined || unit === undefined) {
    return null;
  }
  const bytes = Math.floor(Number(match[1]) * unit);
  return Number.isSafeInteger(bytes) ? bytes : null;
}
