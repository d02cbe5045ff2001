// Owns live progress: a redrawn block on a terminal, a line per percent elsewhere; the rate is
// smoothed so that the time left does not jump.
import { formatDuration, formatShort, type Style, styleFor } from './format.ts';
import type { CommandIo } from './io.ts';

export interface ProgressState {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  /** Word after the rate: `rows`. */
  readonly unit: string;
  /** What it works on right now, such as the current plan; null when there is nothing to say. */
  readonly detail: string | null;
  /** Why it does not move, or null. */
  readonly waiting: string | null;
  /** Somebody has paused it: the time passes without a rate. */
  readonly paused?: boolean;
}

export interface Progress {
  readonly update: (state: ProgressState) => void;
  /** Removes the block, so that other output starts on a clean line. */
  readonly clear: () => void;
}

const BAR_WIDTH = 28;
const SMOOTHING_SECONDS = 10;

/** Exponentially smoothed units per second of a growing count. */
export class RateMeter {
  private last: { done: number; at: number } | null = null;
  private rate: number | null = null;

  /** Lets time pass that does not count. */
  skip(done: number, nowMs: number): number | null {
    this.last = { done, at: nowMs };
    return this.rate;
  }

  /** Takes a new count and returns the smoothed rate; null until something has moved. */
  observe(done: number, nowMs: number): number | null {
    const last = this.last;
    if (last === null) {
      this.last = { done, at: nowMs };
      return null;
    }
    const seconds = (nowMs - last.at) / 1000;
    if (seconds < 0.05) {
      return this.rate;
    }
    const current = Math.max(0, done - last.done) / seconds;
    if (this.rate === null) {
      this.rate = current > 0 ? current : null;
    } else {
      const weight = 1 - Math.exp(-seconds / SMOOTHING_SECONDS);
      this.rate += (current - this.rate) * weight;
    }
    this.last = { done, at: nowMs };
    return this.rate;
  }
}

/** Starts a progress display on stderr; it is cleared and stays still once the signal is aborted. */
export function createProgress(io: CommandIo, signal?: AbortSignal): Progress {
  const meter = new RateMeter();
  const style = styleFor(io, 'stderr');
  let lines = 0;
  let percentShown = -1;
  let sentenceShown = '';
  const clear = (): void => {
    if (lines > 0) {
      io.stderr(`\u001b[${String(lines)}A\u001b[0J`);
      lines = 0;
    }
  };
  signal?.addEventListener('abort', clear, { once: true });
  return {
    clear,
    update: (state) => {
      if (signal?.aborted === true) {
        return;
      }
      const paused = state.paused === true;
      const rate = paused ? meter.skip(state.done, io.now()) : meter.observe(state.done, io.now());
      if (io.stderrIsTty) {
        const block = renderBlock(state, rate, style, io.columns);
        clear();
        io.stderr(`${block.join('\n')}\n`);
        lines = block.length;
        return;
      }
      const percent = state.total === 0 ? 0 : Math.floor((state.done / state.total) * 100);
      // Numbers in the sentence change all the time; another sentence is news.
      const sentence = (state.waiting ?? '').replaceAll(/\d/g, '');
      if (percent > percentShown || sentence !== sentenceShown) {
        percentShown = percent;
        sentenceShown = sentence;
        io.stderr(`${renderLine(state, rate, percent)}\n`);
      }
    },
  };
}

function renderLine(state: ProgressState, rate: number | null, percent: number): string {
  const parts = [
    `${state.label} ${String(percent)} %`,
    `${formatShort(state.done)} of ${formatShort(state.total)} ${state.unit}`,
    ...rateParts(state, rate),
    ...(state.waiting === null ? [] : [state.waiting]),
  ];
  return parts.join(' · ');
}

function rateParts(state: ProgressState, rate: number | null): string[] {
  if (rate === null || rate <= 0 || state.paused === true) {
    return [];
  }
  const left = (state.total - state.done) / rate;
  const eta =
    state.done >= state.total ? [] : [`${formatDuration(Math.max(1, Math.ceil(left)))} left`];
  return [`${formatShort(rate)} ${state.unit}/s`, ...eta];
}

function renderBlock(
  state: ProgressState,
  rate: number | null,
  style: Style,
  columns: number,
): string[] {
  const share = state.total === 0 ? 0 : Math.min(1, state.done / state.total);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
  const percent = `${(share * 100).toFixed(1)} %`.padStart(7);
  const head = cut(
    [`${state.label} ${bar} ${percent}`, ...rateParts(state, rate)].join('  '),
    columns,
  );
  const rest = [state.detail, state.waiting === null ? null : `waiting: ${state.waiting}`]
    .filter((line) => line !== null)
    .map((line) => style.dim(cut(`  ${line}`, columns)));
  return [head, ...rest];
}

function cut(line: string, columns: number): string {
  return line.length < columns ? line : `${line.slice(0, Math.max(10, columns - 2))}…`;
}
