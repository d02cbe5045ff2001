// Owns which functions of the CUDA driver the library asks for, read from the library's own text, so
// that a new one cannot be left out of a test; and drivers that lack one of them.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './images.ts';

export interface DriverSymbols {
  /** A driver without one of them is refused: the X list of driver.hpp. */
  readonly required: readonly string[];
  /** A driver may lack them: what driver.cpp asks for one by one. */
  readonly optional: readonly string[];
  /** What other sources ask for. */
  readonly elsewhere: readonly string[];
}

export function driverSymbols(): DriverSymbols {
  const folder = join(ROOT, 'native', 'cuda');
  const textOf = (name: string): string => readFileSync(join(folder, name), 'utf8');
  const askedIn = (name: string): string[] =>
    namesIn(textOf(name), /\bdlsym\(\s*\w+,\s*"(cu[A-Z]\w+)"\s*\)/gu);
  const others = readdirSync(folder).filter(
    (name) => /\.[ch]pp$/u.test(name) && name !== 'driver.cpp',
  );
  return {
    required: namesIn(textOf('driver.hpp'), /\bX\(\w+, "(cu[A-Z]\w+)",/gu),
    optional: askedIn('driver.cpp'),
    elsewhere: others.flatMap((name) => askedIn(name)),
  };
}

/**
 * A copy of a library in which a symbol has another name of the same length: its dynamic symbol table
 * finds a name by the name's own hash, so nobody finds this one.
 */
export function copyWithout(library: string, symbol: string, copy: string): string {
  const text = readFileSync(library, 'latin1');
  const parts = text.split(`\0${symbol}\0`);
  if (parts.length < 2) {
    throw new Error(`${library} has no ${symbol}`);
  }
  writeFileSync(copy, parts.join(`\0${'x'.repeat(symbol.length)}\0`), 'latin1');
  return copy;
}

function namesIn(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, name = '']) => name);
}
