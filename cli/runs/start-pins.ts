// Owns the judgement of the pins that a run is started with: what `pin set` would refuse is refused
// before there is a run, in the same words. Which hosts and devices are served is not asked: a run
// may be started before its workers.
//
// I1. A worker may bring an external registry, which nobody knows here: variant, precision and rows
//     are judged only where a built-in variant is pinned, or one that is a keystroke away from a
//     built-in one and so taken for a slip.
import { checkPins, type PinProposal } from '../../planner/index.ts';
import { alignmentDistance, REGISTRY } from '../../registry/index.ts';
import type { PipelineSpec } from '../../spec/index.ts';
import { CliError } from '../errors.ts';
import { operatorPins } from './pins.ts';

/**
 * Judges the pins of a spec whose overrides are applied.
 *
 * @throws {CliError} `OPERATOR_PIN_IMPOSSIBLE` with the first problem
 */
export function checkStartPins({ plan }: Pick<PipelineSpec, 'plan'>): void {
  const wishes = operatorPins(plan.pins, '').map(({ aspect, value }): PinProposal => ({
    ...{ aspect, value, scope: PLANNED },
    ...{ ttlMs: null, ttlChunks: null },
  }));
  const isBuiltIn = wishes.some((wish) => wish.aspect === 'variant' && !isForeign(wish.value));
  const judged = wishes.filter(({ aspect }) => isBuiltIn || !OF_REGISTRIES.has(aspect));
  const precision = isBuiltIn ? plan.precision : 'auto';
  const context = { mode: plan.mode, precision, work: null };
  const [problem] = checkPins(judged, [], context, REGISTRY);
  if (problem !== undefined) throw new CliError('OPERATOR_PIN_IMPOSSIBLE', problem);
}

/** Stands for the whole run, and says which operation its plans are for before it is prepared. */
const PLANNED: PinProposal['scope'] = { kind: 'operation', operation: 'assign' };

/** What the variants of a registry decide. */
const OF_REGISTRIES: ReadonlySet<PinProposal['aspect']> = new Set([
  'variant',
  'precision',
  'chunkRows',
]);

function isForeign(value: string | number): boolean {
  const id = String(value);
  const known = REGISTRY.operations.flatMap(({ variants }) => variants.map((each) => each.id));
  return !known.some((each) => each === id || isSlip(id, each));
}

/**
 * One letter inserted, left out, replaced or swapped with the next in a name. Another version of the
 * same name is no slip: external libraries bring newer versions of built-in variants.
 */
function isSlip(id: string, known: string): boolean {
  const [name = '', version = ''] = id.split('@');
  const [knownName = '', knownVersion = ''] = known.split('@');
  return version === knownVersion && alignmentDistance(name, knownName) === 1;
}
