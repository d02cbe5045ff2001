// Owns the default knobs of a run: how it is driven, never what it answers.
import type { RunTuning } from '../../workflows/messages.ts';

/**
 * `shardTilesMax` of 4,096 tiles of 65,536 rows is 268 million rows a shard: a 2-core host works
 * minutes on one, and 16 open shards keep 16 × lanes slots of a cluster busy.
 */
export const DEFAULT_TUNING: RunTuning = {
  shardEventsMax: 3000,
  runEventsMax: 3000,
  sealPartsMax: 128,
  shardTilesMax: 4096,
  openShardsMax: 16,
  probeTiles: 4,
};
