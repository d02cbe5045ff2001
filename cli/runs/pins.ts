// Owns pins given on the command line (`--pin variant=assign/grid-avx2@1`) and in the spec, as the
// operator state of a new run holds them.
import { REGISTRY, nearestName } from '../../registry/index.ts';
import type { Pin, PinAspect } from '../../planner/index.ts';
import type { SpecPin } from '../../spec/index.ts';
import { CliError } from '../errors.ts';

const ASPECTS: readonly PinAspect[] = [
  'runtime',
  'variant',
  'precision',
  'chunkRows',
  'device',
  'host',
];

/** Values an aspect may take; null when any text will do. */
const VALUES: Readonly<Record<PinAspect, readonly string[] | null>> = {
  runtime: ['cpu', 'gpu'],
  variant: null,
  precision: ['fp32', 'fp64'],
  chunkRows: null,
  device: null,
  host: null,
};

/**
 * Parses `aspect=value`.
 *
 * @throws {CliError} `CLI_USAGE`
 */
export function parsePin(text: string, reason: string): SpecPin {
  const at = text.indexOf('=');
  const aspect = (at < 0 ? text : text.slice(0, at)) as PinAspect;
  const value = at < 0 ? '' : text.slice(at + 1);
  if (!ASPECTS.includes(aspect) || value === '') {
    const near = nearestName(aspect, ASPECTS);
    throw usage(
      `pin ${text} is not valid: expected aspect=value with an aspect of ${ASPECTS.join(', ')}, ` +
        `got ${JSON.stringify(text)}` +
        (near === null || near === aspect ? '' : `; did you mean ${near}?`),
    );
  }
  const allowed = VALUES[aspect];
  if (allowed !== null && !allowed.includes(value)) {
    throw usage(
      `pin ${text} is not valid: expected ${aspect}=${allowed.join(' | ')}, got ${JSON.stringify(value)}`,
    );
  }
  return { aspect, value: typedValue(aspect, value, text), reason, ifImpossible: 'hold' };
}

function typedValue(aspect: PinAspect, value: string, text: string): string | number {
  if (aspect === 'variant') {
    requireVariant(value);
  }
  if (aspect !== 'chunkRows') {
    return value;
  }
  const rows = Number(value.replaceAll('_', ''));
  if (!Number.isSafeInteger(rows) || rows < 1) {
    throw usage(
      `pin ${text} is not valid: expected a whole number of rows of at least 1, got ${value}`,
    );
  }
  return rows;
}

/** External variants are known to workers only; so a plain unknown name is refused, a foreign id not. */
function requireVariant(id: string): void {
  const known = REGISTRY.operations.flatMap((operation) =>
    operation.variants.map((variant) => variant.id),
  );
  if (known.includes(id) || /^[a-z][a-z0-9-]*\/[a-z0-9-]+@\d+$/.test(id)) {
    return;
  }
  const near = nearestName(id, known);
  throw usage(
    `variant ${id} is unknown: expected operation/name@version such as ${known[0] ?? ''}, got ${id}` +
      (near === null ? '; see tileloom variant list' : `; did you mean ${near}?`),
  );
}

/** Pins of a new run: those of the spec, then those of the command line, which win. */
export function operatorPins(pins: readonly SpecPin[], author: string): Pin[] {
  const byAspect = new Map(pins.map((pin) => [pin.aspect, pin]));
  return [...byAspect.values()].map((pin, index) => ({
    id: `start-${String(index + 1)}`,
    aspect: pin.aspect,
    value: pin.value,
    scope: { kind: 'run' },
    reason: pin.reason,
    author,
    epoch: 0,
    expiresAt: null,
    chunksLeft: null,
    ifImpossible: pin.ifImpossible,
  }));
}

function usage(message: string): CliError {
  return new CliError('CLI_USAGE', message);
}
