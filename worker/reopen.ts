// Owns the one look at devices that nobody asks for: while no GPU of the host is in service, claims for
// GPUs are not taken, so no plan would ever ask whether one serves again.
import { scheduleTimer, type Schedule } from './schedule.ts';

/** First and longest wait; a device that stays away is looked at ever less often. */
const FIRST_MS = 30_000;
const LONGEST_MS = 10 * 60_000;

export interface ReopenOptions {
  readonly isInService: () => boolean;
  /** Looks whether the devices serve again. */
  readonly look: () => void;
  readonly schedule?: Schedule;
}

/** Creates what to call whenever the state of a device has changed. */
export function createReopener({ isInService, look, schedule }: ReopenOptions): () => void {
  let delayMs = FIRST_MS;
  let isPlanned = false;
  return function changed(): void {
    if (isInService()) delayMs = FIRST_MS;
    else if (!isPlanned) {
      isPlanned = true;
      (schedule ?? scheduleTimer)(delayMs, () => {
        isPlanned = false;
        delayMs = Math.min(LONGEST_MS, 2 * delayMs);
        look();
        changed();
      });
    }
  };
}
