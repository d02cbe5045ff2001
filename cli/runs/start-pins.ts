// Owns the judgement of the pins that a run is started with: what `pin set` would refuse is refused
// before there is a run, in the same words. Which hosts and devices are served is not asked: a run
// may be started before its workers.
//
// I1. A variant that only a worker's external registry may know passes; one that is a keystroke away
//     from a built-in variant is taken for a slip.
import { checkPins, type PinProposal } from '../../planner/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import type { PipelineSpec } from '../../spec/index.ts';
import { CliError } from '../errors.ts';
import { operatorPins } from './pins.ts';

/**
 * Judges the pins of a spec whose overrides are applied.
 *
 * @throws {CliError} `OPERATOR_PIN_IMPOSSIBLE` with the first problem
 */
export function checkStartPins({ plan }: Pick<PipelineSpec, 'plan'>): void {
  const wishes = operatorPins(plan.pins, '').map(({ aspect, value, scope }): PinProposal => ({
    ...{ aspect, value, scope },
    ...{ ttlMs: null, ttlChunks: null },
  }));
  const judged = wishes.filter((wish) => !isForeignVariant(wish));
  const context = { mode: plan.mode, precision: plan.precision, work: null };
  const [problem] = checkPins(judged, [], context, REGISTRY);
  if (problem !== undefined) throw new CliError('OPERATOR_PIN_IMPOSSIBLE', problem);
}

function isForeignVariant({ aspect, value }: PinProposal): boolean {
  if (aspect !== 'variant') return false;
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
  if (version !== knownVersion) return false;
  const length = Math.min(name.length, knownName.length);
  let head = 0;
  while (head < length && name[head] === knownName[head]) head += 1;
  let tail = 0;
  while (tail < length - head && name.at(-1 - tail) === knownName.at(-1 - tail)) tail += 1;
  const typed = name.slice(head, name.length - tail);
  const meant = knownName.slice(head, knownName.length - tail);
  const isSwap = typed.length === 2 && typed === [...meant].toReversed().join('');
  return isSwap || Math.max(typed.length, meant.length) === 1;
}
