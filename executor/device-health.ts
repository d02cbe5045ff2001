// Owns whether a GPU is in service on this host, by what its executor met.
//
// I1 a device that could not be opened is tried again when somebody asks, at most every `reopenMs`
// I2 a device that was lost `lossesMax` times within `lossWindowMs` is left alone for as long
// I3 the text begins with the code of the error

export interface DeviceHealthOptions {
  /** Milliseconds on a monotone clock: one that is set back must not prolong a rest. */
  readonly now?: () => number;
  readonly reopenMs?: number;
  readonly lossesMax?: number;
  readonly lossWindowMs?: number;
}

const REOPEN_MS = 30_000;
const LOSSES_MAX = 3;
const LOSS_WINDOW_MS = 10 * 60_000;
/** What travels in snapshots and records of each plan. */
const TEXT_MAX = 160;

/** Why a device is out of service, and until when. */
export class DeviceHealth {
  readonly #now: () => number;
  readonly #reopenMs: number;
  readonly #lossesMax: number;
  readonly #lossWindowMs: number;
  #refusal: { readonly text: string; readonly at: number } | null = null;
  #losses: readonly number[] = [];
  #rest: { readonly text: string; readonly until: number } | null = null;

  constructor(options: DeviceHealthOptions = {}) {
    this.#now = options.now ?? ((): number => performance.now());
    this.#reopenMs = options.reopenMs ?? REOPEN_MS;
    this.#lossesMax = options.lossesMax ?? LOSSES_MAX;
    this.#lossWindowMs = options.lossWindowMs ?? LOSS_WINDOW_MS;
  }

  /** Code and text; null: in service. */
  get quarantine(): string | null {
    this.#wake();
    return this.#rest?.text ?? this.#refusal?.text ?? null;
  }

  /** Whether opening the device may be tried now. */
  get mayOpen(): boolean {
    this.#wake();
    if (this.#rest !== null) return false;
    return this.#refusal === null || this.#now() - this.#refusal.at >= this.#reopenMs;
  }

  /** The device was opened. */
  opened(): void {
    this.#refusal = null;
  }

  /** The device could not be opened. */
  refused(code: string, message: string): void {
    this.#refusal = { text: textOf(code, message), at: this.#now() };
  }

  /** The device was lost, or its driver hung, while it worked. */
  lost(code: string): void {
    const now = this.#now();
    this.#losses = [...this.#losses.filter((at) => now - at < this.#lossWindowMs), now];
    if (this.#losses.length < this.#lossesMax) return;
    const times = `lost ${this.#losses.length} times within ${this.#lossWindowMs / 60_000} minutes`;
    const until = new Date(Date.now() + this.#lossWindowMs).toISOString();
    const text = textOf(code, `${times}; out of service until ${until}`);
    this.#rest = { text, until: now + this.#lossWindowMs };
    this.#losses = [];
  }

  #wake(): void {
    if (this.#rest !== null && this.#now() >= this.#rest.until) this.#rest = null;
  }
}

function textOf(code: string, message: string): string {
  const text = `${code}: ${message}`;
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}
