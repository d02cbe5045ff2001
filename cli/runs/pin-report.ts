// Owns what `pin list` shows of pins: where they hold, what is left of them, which chunks they touched.
import type { HistoryLine } from '../../history/index.ts';
import type { OperatorState } from '../../operator/index.ts';
import type { Pin, PinScope } from '../../planner/index.ts';

export interface PinReport extends Omit<Pin, 'scope'> {
  readonly scope: PinScope;
  /** Chunks that each shard may still start under it, by shard, as far as shards answered. */
  readonly chunksLeftByShard: Readonly<Record<string, number>>;
  /** Chunks whose plans it was in force for, `shard/chunk`. */
  readonly affected: readonly string[];
}

/** Chunks of which each shard has started so many under each pin. */
export interface PinUses {
  readonly shard: number;
  readonly pinUses: Readonly<Record<string, number>>;
}

/** Chunks by the pins that their plans cite. */
export async function chunksByPin(
  lines: AsyncIterable<HistoryLine>,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const chunks = new Map<string, Set<string>>();
  for await (const line of lines) {
    if (line.kind !== 'plan' || line.answer === null) continue;
    const { shard, chunk } = line.call.request.where;
    for (const { code, params } of line.answer.decision.reasons) {
      const pin = params?.['pin'];
      if ((code === 'PIN_APPLIED' || code === 'PIN_IMPOSSIBLE') && pin !== undefined) {
        const found = chunks.get(String(pin)) ?? new Set();
        chunks.set(String(pin), found.add(`${String(shard)}/${String(chunk)}`));
      }
    }
  }
  return new Map([...chunks].map(([pin, found]) => [pin, [...found]]));
}

/** Joins the pins of a state with what shards and plans tell of them. */
export function reportPins(
  state: OperatorState,
  uses: readonly PinUses[],
  affected: ReadonlyMap<string, readonly string[]>,
): PinReport[] {
  return state.pins.map((pin) => {
    const chunks = pin.scope.kind === 'chunks' ? pin.scope.count : null;
    const limit = pin.chunksLeft ?? chunks;
    const left =
      limit === null
        ? []
        : uses.map(({ shard, pinUses }) => [shard, Math.max(0, limit - (pinUses[pin.id] ?? 0))]);
    return {
      ...pin,
      chunksLeftByShard: Object.fromEntries(left) as Record<string, number>,
      affected: affected.get(pin.id) ?? [],
    };
  });
}

/** `run`, `operation assign`, `tiles 3-7`, `next 10 chunks of each shard`. */
export function scopeText(scope: PinScope): string {
  switch (scope.kind) {
    case 'run':
      return 'run';
    case 'operation':
      return `operation ${scope.operation}`;
    case 'tiles':
      return `tiles ${String(scope.firstTile)}-${String(scope.lastTile)}`;
    case 'chunks':
      return `next ${String(scope.count)} chunks of each shard`;
  }
}
