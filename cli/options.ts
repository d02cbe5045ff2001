// Owns reading option values that Commander hands over as text.
import { InvalidArgumentError, Option } from 'commander';
import { parseSize } from '../spec/index.ts';
import type { OptionValues } from './command.ts';

/** An option with a whole number from `min` to 2^53 − 1; underscores may group digits. */
export function countOption(flags: string, description: string, min = 1): Option {
  return new Option(flags, description).argParser((text: string) => {
    const value = Number(text.replaceAll('_', ''));
    if (!/^[0-9_]+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(
        `expected a whole number from ${String(min)} to ${String(Number.MAX_SAFE_INTEGER)}`,
      );
    }
    return value;
  });
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ...{ ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 },
};

/** No duration is longer than a century: later times could not be written as dates. */
const DURATION_MS_MAX = 100 * 365 * 864e5;

/** An option with a duration such as `30s`, `5m`, `2h`; whole milliseconds. */
export function durationOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text);
    const unit = DURATION_UNITS[match?.[2] ?? 's'];
    if (match?.[1] === undefined || unit === undefined) {
      throw new InvalidArgumentError('expected a duration such as 30s, 5m or 2h');
    }
    const duration = Math.round(Number(match[1]) * unit);
    if (duration > DURATION_MS_MAX) {
      throw new InvalidArgumentError('expected a duration of at most 36500d');
    }
    return duration;
  });
}

/** An option with a size such as `512 MiB`; bytes. */
export function sizeOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const bytes = parseSize(text);
    if (bytes === null || bytes < 1) {
      throw new InvalidArgumentError('expected a size such as 512MiB or 8GiB');
    }
    return bytes;
  });
}

/** An option that may be given several times. */
export function listOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser<string[]>((text, before) => [
    ...(Array.isArray(before) ? before : []),
    text,
  ]);
}

export function textOf(options: OptionValues, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

export function numberOf(options: OptionValues, name: string): number | undefined {
  const value = options[name];
  return typeof value === 'number' ? value : undefined;
}

export function listOf(options: OptionValues, name: string): readonly string[] {
  const value = options[name];
  return Array.isArray(value) ? (value as string[]) : [];
}

export function flagOf(options: OptionValues, name: string): boolean {
  return options[name] === true;
}

/** An option that must be given. */
export function requiredOption(flags: string, description: string): Option {
  return new Option(flags, description).makeOptionMandatory();
}
