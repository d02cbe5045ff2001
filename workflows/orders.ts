// Owns how orders about parked tiles are followed: which tiles of a shard they mean, and what becomes
// of those. Shards do it while they are open, the run does it for those that are not.
//
// I1 only tiles that are parked now are moved: what is free, reserved or in an unsealed part is not,
//    whatever the segments say
// I2 `parked.count` is the number of tiles that are parked and not skipped
import type { ParkedOrder } from '../operator/index.ts';
import type { ParkedTile, SegmentRef, TileInterval } from './activity-contract.ts';
import type { Suspect } from './bisection.ts';
import { countTiles, subtractTiles, uniteTiles } from './intervals.ts';
import type { ParkedSummary } from './messages.ts';

/** The part of a shard that orders about parked tiles change. */
export interface ParkedState {
  readonly suspects: readonly Suspect[];
  readonly skipped: readonly TileInterval[];
  readonly parked: ParkedSummary;
  readonly ordersThrough: number;
}

/** The first order that a shard has not followed yet. */
export function nextOrder(
  orders: readonly ParkedOrder[],
  { ordersThrough }: Pick<ParkedState, 'ordersThrough'>,
): ParkedOrder | null {
  return orders.find(({ epoch }) => epoch > ordersThrough) ?? null;
}

/** Whether there can be anything that an order means; false spares a look at the segments. */
export function mayHaveParked(
  { parked, skipped, suspects }: ParkedState,
  head: SegmentRef | null,
): boolean {
  return head !== null && parked.count + skipped.length + suspects.length > 0;
}

/**
 * Follows one order.
 *
 * @param selected tiles that the order means and that the shard's segments name as parked, ascending
 * @param busy tiles that are free, reserved, or computed and not sealed yet
 */
export function followOrder(
  state: ParkedState,
  order: ParkedOrder,
  selected: readonly TileInterval[],
  busy: readonly TileInterval[],
): ParkedState {
  const again = state.suspects.filter((suspect) => subtractTiles([suspect], selected).length === 0);
  const others = state.suspects.filter((suspect) => !again.includes(suspect));
  const elsewhere = uniteTiles([...busy, ...state.suspects]);
  const waiting = subtractTiles(selected, elsewhere);
  const count = state.parked.count - countTiles(subtractTiles(waiting, state.skipped));
  const changed = { parked: summary(state.parked.first, count, waiting) };
  const ordersThrough = order.epoch;
  if (order.kind === 'skip') {
    const skipped = uniteTiles([...state.skipped, ...waiting, ...again]);
    return { ...changed, ordersThrough, skipped, suspects: others };
  }
  const tiles = uniteTiles([...waiting, ...again]);
  const retried = tiles.map((range) => suspectOf(range, order));
  const skipped = subtractTiles(state.skipped, waiting);
  return { ...changed, ordersThrough, skipped, suspects: [...others, ...retried] };
}

function suspectOf({ firstTile, endTile }: TileInterval, { pin, epoch }: ParkedOrder): Suspect {
  const begin = { firstTile, endTile, attempt: 1, faults: [] };
  // What failed on other tiles may be just what the pin asks for: it would hold without end.
  return pin === null ? begin : { ...begin, onlyOwn: true, pin: { ...pin, epoch } };
}

/** A tile that is no longer parked is no example of parked tiles. */
function summary(
  first: ParkedTile | null,
  count: number,
  gone: readonly TileInterval[],
): ParkedSummary {
  const isGone =
    first !== null &&
    gone.some(({ firstTile, endTile }) => firstTile <= first.tile && first.tile < endTile);
  return { count, first: isGone || count === 0 ? null : first };
}
