// Owns which pins cannot hold at once: for each place of a run the pins that would be in force there
// are laid beside the requested mode and precision, and some variant must be left that fits them all.
import type { Registry, Runtime, VariantSpec } from '../registry/index.ts';
import { cannotBeSet, nameOf, type PinCheckContext, type PinProposal } from './pin-proposal.ts';
import { resolvePins } from './pins.ts';
import type { Pin, PinAspect, PinScope } from './types.ts';

/** Problems of wishes where they meet each other, pins in force, mode and precision. */
export function contradictionsOf(
  wishes: readonly PinProposal[],
  current: readonly Pin[],
  context: PinCheckContext,
  registry: Registry,
): string[] {
  const planned = context.work?.operation ?? registry.operations[0]?.name;
  const found = registry.operations.find(({ name }) => name === planned);
  if (found === undefined) return [];
  const { name: operation, variants } = found;
  const wanted = wishes.map(asPin);
  const kept = current.filter((pin) => !wanted.some((wish) => replaces(wish, pin)));
  const all = [...kept, ...wanted];
  const problems: string[] = [];
  for (const pins of [all, all.filter(lasts)]) {
    for (const firstTile of bordersOf(pins)) {
      const { winners } = resolvePins(pins, { firstTile, reservedTiles: 1 }, { operation }, 0);
      if (!winners.some(isWish)) continue;
      const problem = contradiction({ winners, variants, context });
      if (problem !== null) problems.push(problem);
    }
  }
  return problems;
}

const WISH = 'wish ';

/** A wish as a pin that is newer than all others and never expires while it is judged. */
function asPin({ aspect, value, scope, ttlMs, ttlChunks }: PinProposal, index: number): Pin {
  return {
    id: `${WISH}${String(index)}`,
    ...{ aspect, value, scope, reason: '', author: '' },
    epoch: Number.MAX_SAFE_INTEGER,
    expiresAt: ttlMs === null ? null : Number.MAX_SAFE_INTEGER,
    chunksLeft: ttlChunks,
    ifImpossible: 'hold',
  };
}

const isWish = (pin: Pin): boolean => pin.id.startsWith(WISH);

const lasts = (pin: Pin): boolean =>
  pin.expiresAt === null && pin.chunksLeft === null && pin.scope.kind !== 'chunks';

function replaces(wish: Pin, pin: Pin): boolean {
  return wish.aspect === pin.aspect && scopeKey(wish.scope) === scopeKey(pin.scope);
}

/** "The next n chunks" is one scope, whatever n. */
function scopeKey(scope: PinScope): string {
  switch (scope.kind) {
    case 'operation':
      return `operation ${scope.operation}`;
    case 'tiles':
      return `tiles ${String(scope.firstTile)} ${String(scope.lastTile)}`;
    case 'run':
    case 'chunks':
      return scope.kind;
  }
}

/** One tile of each stretch in which the same pins are in force. */
function bordersOf(pins: readonly Pin[]): readonly number[] {
  const borders = pins.flatMap(({ scope }) =>
    scope.kind === 'tiles' ? [scope.firstTile, scope.lastTile + 1] : [],
  );
  return [...new Set([0, ...borders])];
}

interface Place {
  /** In the order of aspects, at most one each. */
  readonly winners: readonly Pin[];
  readonly variants: readonly VariantSpec[];
  readonly context: PinCheckContext;
}

function contradiction(place: Place): string | null {
  return runtimeProblem(place) ?? variantProblem(place) ?? leftoverProblem(place);
}

function pinOf({ winners }: Place, aspect: PinAspect): Pin | undefined {
  return winners.find((pin) => pin.aspect === aspect);
}

function pinnedVariant(place: Place): VariantSpec | undefined {
  const pin = pinOf(place, 'variant');
  return place.variants.find(({ id }) => id === pin?.value);
}

/** Runtime, variant and device pins each imply a runtime: one for all, or there is a problem. */
function runtimeProblem(place: Place): string | null {
  const implied = place.winners.flatMap((pin) => {
    const runtime = impliedRuntime(place, pin);
    return runtime === null ? [] : [{ pin, runtime }];
  });
  for (const [index, one] of implied.entries()) {
    const other = implied
      .slice(index + 1)
      .find(({ pin, runtime }) => runtime !== one.runtime && (isWish(pin) || isWish(one.pin)));
    if (other === undefined) continue;
    const [subject, against] = isWish(other.pin) ? [other, one] : [one, other];
    const expected = `runtime ${against.runtime}, as ${labelOf(against.pin)} fixes`;
    return cannotBeSet(subject.pin, expected, subject.runtime, clearing(against.pin));
  }
  const [first] = implied;
  const { mode } = place.context;
  if (first === undefined || mode === 'auto' || first.runtime === mode) return null;
  const explicit = pinOf(place, 'runtime') !== undefined;
  const subject = implied.find(({ pin }) => isWish(pin));
  if (explicit || subject === undefined) return null;
  const remedy = `to leave that mode, pin runtime=${first.runtime} as well`;
  const expected = `runtime ${mode}, as plan.mode asks`;
  return cannotBeSet(subject.pin, expected, subject.runtime, remedy);
}

function impliedRuntime(place: Place, { aspect, value }: Pin): Runtime | null {
  switch (aspect) {
    case 'runtime':
      return value as Runtime;
    case 'variant':
      return pinnedVariant(place)?.runtime ?? null;
    case 'device':
      return value === 'cpu' ? 'cpu' : 'gpu';
    case 'precision':
    case 'chunkRows':
    case 'host':
      return null;
  }
}

/** What the pinned variant cannot do. */
function variantProblem(place: Place): string | null {
  const pin = pinOf(place, 'variant');
  const variant = pinnedVariant(place);
  if (pin === undefined || variant === undefined) return null;
  const precision = pinOf(place, 'precision');
  const compute = precisionOf(place, variant.runtime);
  const modes = variant.precisionModes.join(', ');
  if (compute !== null && !variant.precisionModes.some((mode) => mode === compute)) {
    if (precision !== undefined && isWish(precision)) {
      const expected = `a precision that ${variant.id} computes in (${modes})`;
      return cannotBeSet(precision, expected, compute, clearing(pin));
    }
    const why = precision === undefined ? reasonOf(place) : `as ${labelOf(precision)} fixes`;
    const remedy = `pin precision=${variant.precisionModes[0] ?? ''} as well`;
    return isWish(pin)
      ? cannotBeSet(pin, `a variant that computes in ${compute}, ${why}`, modes, remedy)
      : null;
  }
  const lack = isWish(pin) ? workProblem(variant, place.context) : null;
  return lack === null ? null : cannotBeSet(pin, lack.expected, lack.got, 'pin another variant');
}

/** The precision that plans will ask for on a runtime; null where only the device decides. */
function precisionOf(place: Place, runtime: Runtime): string | null {
  const asked = pinOf(place, 'precision')?.value ?? place.context.precision;
  if (asked !== 'auto') return String(asked);
  return runtime === 'cpu' ? 'fp64' : null;
}

function reasonOf({ context }: Place): string {
  return context.precision === 'auto' ? 'as plans do on CPUs' : 'as plan.precision asks';
}

function workProblem(
  variant: VariantSpec,
  { work }: PinCheckContext,
): { readonly expected: string; readonly got: string } | null {
  if (work === null) return null;
  const { geometryFamilies: families } = variant;
  if (!variant.boundaries.includes(work.boundary)) {
    return { expected: `boundary ${work.boundary}`, got: variant.boundaries.join(', ') };
  }
  if (!variant.overlaps.includes(work.overlap)) {
    return { expected: `overlap ${work.overlap}`, got: variant.overlaps.join(', ') };
  }
  if (families.length > 0 && !work.families.every((family) => families.includes(family))) {
    return { expected: `geometry of ${work.families.join(', ')}`, got: families.join(', ') };
  }
  return work.mixed && !variant.supportsMixed
    ? { expected: 'a variant for mixed geometry', got: 'one for a single family' }
    : null;
}

/** Pins of which none is wrong, but which together leave no variant, or none for so many rows. */
function leftoverProblem(place: Place): string | null {
  const { winners, variants, context } = place;
  const pinned = pinOf(place, 'variant');
  const runtime =
    winners.map((pin) => impliedRuntime(place, pin)).find((each) => each !== null) ??
    (context.mode === 'auto' ? null : context.mode);
  const left = variants.filter(
    (variant) =>
      (pinned === undefined ? variant.numericClass === 'exact' : variant.id === pinned.value) &&
      (runtime === null || variant.runtime === runtime) &&
      workProblem(variant, context) === null,
  );
  const fitting = left.filter((variant) => {
    const compute = precisionOf(place, variant.runtime);
    return compute === null || variant.precisionModes.some((mode) => mode === compute);
  });
  if (fitting.length > 0) return rowsProblem(place, fitting);
  const subject = ['precision', 'runtime', 'device', 'variant']
    .map((aspect) => winners.find((pin) => pin.aspect === aspect && isWish(pin)))
    .find((pin) => pin !== undefined);
  if (subject === undefined || (pinned !== undefined && !isWish(pinned))) return null;
  const where = runtime === null ? '' : ` for ${runtime}`;
  const modes = [...new Set(left.flatMap((variant) => variant.precisionModes))];
  const expected =
    left.length === 0
      ? `some variant${where} that can do this work`
      : `a precision that some variant${where} computes in (${modes.join(', ')})`;
  const others = winners.filter((pin) => pin !== subject && !isWish(pin));
  const remedy = others[0] === undefined ? 'see tileloom variant list' : clearing(others[0]);
  const asked = pinOf(place, 'precision')?.value ?? context.precision;
  return cannotBeSet(subject, expected, left.length === 0 ? 'none' : String(asked), remedy);
}

function rowsProblem(place: Place, variants: readonly VariantSpec[]): string | null {
  const pin = pinOf(place, 'chunkRows');
  if (pin === undefined || !isWish(pin)) return null;
  const rowsMax = Math.max(...variants.map((variant) => variant.maxRows ?? Infinity));
  const rows = Number(pin.value);
  // A chunk has at least one tile, so fewer rows than a tile has are as good as a tile's.
  if (rows <= Math.max(rowsMax, place.context.work?.tileRows ?? 0)) return null;
  const bound = `at most ${String(rowsMax)} rows, which is what the variants take`;
  return cannotBeSet(pin, bound, String(rows), 'pin fewer rows');
}

function labelOf(pin: Pin): string {
  return isWish(pin) ? `${nameOf(pin)} beside it` : `pin ${pin.id} (${nameOf(pin)})`;
}

function clearing(pin: Pin): string {
  return isWish(pin)
    ? 'ask for one of the two'
    : `clear pin ${pin.id} first, or set it anew as well`;
}
