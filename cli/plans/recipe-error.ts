// Owns the error about a policy or registry that plans name and nobody has.
import { HistoryError } from '../../history/index.ts';
import { formatCount } from '../format.ts';

/** @param plans how many plans name it; null: one did, and that was enough */
export function unknownRecipeError(
  what: string,
  digest: string,
  plans: number | null,
): HistoryError {
  const which = plans === null ? 'a plan' : `${formatCount(plans)} plan(s)`;
  return new HistoryError(
    'HISTORY_RECIPE_UNKNOWN',
    `${which} cannot be made again: expected ${what} ${digest} beside the records, got none with that ` +
      'digest; export the run where its sink is, or restore its records folder',
    { details: { what, digest, plans } },
  );
}
