// Owns which pins may be set at all: what the registry lacks, what can never be, and what contradicts
// other pins, the requested mode or the requested precision. It knows no host: a pin that only a host
// or a device could honour passes here, and plans hold until one comes.
//
// I1. An explicit runtime pin outranks the requested mode; a variant or device does not by itself.
// I2. Pins contradict each other only where they would be in force together, now or when pins with a
//     limit have ended.
import { nearestName, type Registry, type VariantSpec } from '../registry/index.ts';
import { contradictionsOf } from './pin-contradictions.ts';
import { brief, cannotBeSet, type PinCheckContext, type PinProposal } from './pin-proposal.ts';
import type { Pin, PinAspect } from './types.ts';

/**
 * Judges pins that somebody wants to set, all together, beside the pins in force.
 *
 * @returns `pin <aspect>=<value> cannot be set: expected …, got …; <what to do>`, each problem once;
 *   empty when all may be set
 */
export function checkPins(
  wishes: readonly PinProposal[],
  current: readonly Pin[],
  context: PinCheckContext,
  registry: Registry,
): string[] {
  const own = wishes.flatMap((wish) => ownProblem(wish, current, context, registry) ?? []);
  const problems = own.length > 0 ? own : contradictionsOf(wishes, current, context, registry);
  return [...new Set(problems)];
}

type Judge = (
  wish: PinProposal,
  current: readonly Pin[],
  context: PinCheckContext,
  registry: Registry,
) => string | null;

/** What is wrong with each value by itself. */
const JUDGES: Readonly<Record<PinAspect, Judge>> = {
  runtime: (wish) => wordProblem(wish, ['cpu', 'gpu']),
  precision: (wish) => wordProblem(wish, ['fp32', 'fp64']),
  variant: variantProblem,
  chunkRows: rowsProblem,
  device: (wish) =>
    DEVICE_ID.test(String(wish.value))
      ? null
      : cannotBeSet(
          wish,
          'cpu or the UUID of a GPU, as in GPU-1c8e27f4-…',
          brief(wish.value),
          'see tileloom device list',
        ),
  host: (wish) =>
    HOST_ID.test(String(wish.value))
      ? null
      : cannotBeSet(
          wish,
          'a host id: 1 to 63 of a-z, 0-9 and "-"',
          brief(wish.value),
          'hosts are named by tileloom worker start --host-id',
        ),
};

const DEVICE_ID = /^(?:cpu|(?:GPU|MIG)-[0-9A-Za-z-]{1,80})$/u;
const HOST_ID = /^[a-z0-9][a-z0-9-]{0,62}$/u;

function ownProblem(...[wish, current, context, registry]: Parameters<Judge>): string | null {
  return (
    scopeProblem(wish, context, registry) ?? JUDGES[wish.aspect](wish, current, context, registry)
  );
}

function scopeProblem(
  wish: PinProposal,
  { work }: PinCheckContext,
  registry: Registry,
): string | null {
  if (wish.scope.kind !== 'operation') return null;
  const { operation } = wish.scope;
  const names = registry.operations.map(({ name }) => name);
  if (!names.includes(operation)) {
    const expected = `an operation of the registry (${names.join(', ')})`;
    const near = nearestName(operation, names);
    return cannotBeSet(wish, expected, `scope ${brief(operation)}`, meant(near, 'operation list'));
  }
  if (work === null || work.operation === operation) return null;
  const expected = `the operation that this run plans, ${work.operation}`;
  return cannotBeSet(wish, expected, `scope ${operation}`, 'leave the scope out');
}

function wordProblem(wish: PinProposal, words: readonly string[]): string | null {
  if (words.includes(String(wish.value))) return null;
  const near = nearestName(String(wish.value), words);
  const remedy = near === null ? 'name one of them' : `did you mean ${near}?`;
  return cannotBeSet(wish, words.join(' or '), brief(wish.value), remedy);
}

function rowsProblem(wish: PinProposal): string | null {
  const { value } = wish;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return null;
  const expected = `a whole number of rows from 1 to ${String(Number.MAX_SAFE_INTEGER)}`;
  return cannotBeSet(wish, expected, brief(value), 'give the rows of a chunk');
}

function variantProblem(...[wish, current, context, registry]: Parameters<Judge>): string | null {
  const id = String(wish.value);
  const variants = registry.operations.flatMap((operation) => operation.variants);
  const variant = variants.find((each) => each.id === id);
  if (variant === undefined) {
    const near = nearestVariant(id, variants);
    const expected = `a variant of registry ${registry.digest.slice(0, 12)}`;
    return cannotBeSet(wish, expected, 'an unknown one', meant(near, 'variant list'));
  }
  const wanted = wish.scope.kind === 'operation' ? wish.scope.operation : context.work?.operation;
  if (wanted !== undefined && variant.operation !== wanted) {
    const own = variants.find((each) => each.operation === wanted);
    const remedy = own === undefined ? 'see tileloom variant list' : `for example ${own.id}`;
    return cannotBeSet(wish, `a variant of ${wanted}`, `one of ${variant.operation}`, remedy);
  }
  return numericProblem(wish, variant, current, context);
}

/** A class that is not exact is fixed once per run: from its start to its end, for all of it. */
function numericProblem(
  wish: PinProposal,
  variant: VariantSpec,
  current: readonly Pin[],
  { work }: PinCheckContext,
): string | null {
  if (variant.numericClass === 'exact') return null;
  const whole =
    (wish.scope.kind === 'run' || wish.scope.kind === 'operation') &&
    wish.ttlMs === null &&
    wish.ttlChunks === null;
  const pinnedFromStart = current.some(
    (pin) => pin.aspect === 'variant' && pin.value === variant.id && pin.epoch === 0,
  );
  if (whole && (work === null || pinnedFromStart)) return null;
  return cannotBeSet(
    wish,
    'an exact variant, since chunks of this run may have been computed by others',
    `numeric class ${variant.numericClass}`,
    'such a variant is pinned for a whole run when it starts',
  );
}

/** People leave out the operation or the version more often than they mistype a letter. */
function nearestVariant(id: string, variants: readonly VariantSpec[]): string | null {
  const partly = variants.find(
    ({ operation, name, version }) =>
      id === name ||
      id === `${name}@${String(version)}` ||
      id.split('@')[0] === `${operation}/${name}`,
  );
  return (
    partly?.id ??
    nearestName(
      id,
      variants.map((each) => each.id),
    )
  );
}

function meant(near: string | null, list: string): string {
  return near === null ? `see tileloom ${list}` : `did you mean ${near}?`;
}
