// Owns the classes of a choropleth: quantiles with readable breaks, and their colours.

/** Light to dark, legible on white and for colour-blind readers (ColorBrewer YlGnBu, 2013). */
const RAMP = ['#edf8b1', '#c7e9b4', '#7fcdbb', '#41b6c4', '#1d91c0', '#225ea8', '#0c2c84'];

export const NO_VALUE_COLOR = '#dcdcdc';

export interface ColorClass {
  readonly color: string;
  /** For people: `1.2 k – 5 k`. */
  readonly label: string;
}

export interface ColorClasses {
  readonly classes: readonly ColorClass[];
  /** Class of a value, −1 where there is none. */
  readonly classOf: (value: number) => number;
}

/**
 * Cuts values into at most seven classes of about equal size. Breaks are rounded to two significant digits,
 * equal ones merged.
 */
export function quantileClasses(values: Float64Array): ColorClasses {
  const sorted = values.filter((value) => Number.isFinite(value)).toSorted();
  const least = sorted[0];
  const greatest = sorted.at(-1);
  if (least === undefined || greatest === undefined) return { classes: [], classOf: () => -1 };
  const breaks: number[] = [];
  for (let k = 1; k < RAMP.length; k += 1) {
    const exact = sorted[Math.floor((k * sorted.length) / RAMP.length)] ?? greatest;
    const rounded = Number(exact.toPrecision(2));
    const rises = rounded > least && rounded <= greatest;
    if (rises && rounded > (breaks.at(-1) ?? -Infinity)) breaks.push(rounded);
  }
  const limits = [least, ...breaks, greatest];
  const classes = limits.slice(0, -1).map((low, i) => ({
    color: RAMP[Math.round((i * (RAMP.length - 1)) / Math.max(1, breaks.length))] ?? '#000',
    label:
      low === limits[i + 1]
        ? compactNumber(low)
        : `${compactNumber(low)} – ${compactNumber(limits[i + 1] ?? low)}`,
  }));
  return {
    classes,
    classOf: (value) =>
      Number.isFinite(value) ? breaks.filter((limit) => value >= limit).length : -1,
  };
}

/** Three significant digits with k, M, G, T. */
export function compactNumber(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 1e15 || (magnitude < 1e-3 && magnitude > 0)) return value.toExponential(1);
  const units = ['', ' k', ' M', ' G', ' T'];
  let step = 0;
  let scaled = value;
  while (Math.abs(scaled) >= 999.5 && step < units.length - 1) {
    scaled /= 1000;
    step += 1;
  }
  return `${Number(scaled.toPrecision(3))}${units[step]}`.replace('-', '\u2212');
}
