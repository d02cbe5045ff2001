// Owns the host's memory of the activities it is running, on disk, so that a host which comes back
// after a kill can fail its own lost activities by id instead of letting their timeouts run out.
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One activity that was running when the file was written. */
export interface InFlightActivity {
  readonly workflowId: string;
  readonly runId: string;
  readonly activityId: string;
}

/** One small file an activity; a lost file costs a time-out, a stale one a harmless NOT_FOUND. */
export class InFlight {
  readonly #directory: string;
  readonly #bootId: string;
  #next = 0;

  constructor(directory: string, bootId: string) {
    this.#directory = directory;
    this.#bootId = bootId;
  }

  /** Notes an activity as running; `remove` forgets it. */
  async add(activity: InFlightActivity): Promise<{ remove(): Promise<void> }> {
    this.#next += 1;
    const path = join(this.#directory, `${this.#bootId}-${this.#next}.json`);
    await mkdir(this.#directory, { recursive: true });
    await writeFile(path, JSON.stringify(activity));
    return { remove: () => rm(path, { force: true }) };
  }

  /** Takes the activities that earlier lives of this host left behind. */
  async takeLost(): Promise<readonly InFlightActivity[]> {
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    const lost: InFlightActivity[] = [];
    for (const name of names.toSorted()) {
      if (name.startsWith(`${this.#bootId}-`)) continue;
      const path = join(this.#directory, name);
      try {
        lost.push(JSON.parse(await readFile(path, 'utf8')) as InFlightActivity);
      } catch {
        // A file cut short by the kill names nothing; the activity's own time-out covers it.
      }
      await rm(path, { force: true });
    }
    return lost;
  }
}
