// The selectParked activity over sealed chains on disk.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { selectParked } from '../../activities/select-parked.ts';
import type { ParkedSelection } from '../../operator/index.ts';
import type { SegmentRef, SelectParkedAnswer } from '../../workflows/activity-contract.ts';
import { RunSink, parkedTile } from './run-sink.ts';

let run: RunSink;
beforeEach(async () => {
  run = await RunSink.claim();
});
afterEach(() => run.remove());

const ALL: ParkedSelection = { tiles: null, fingerprint: null };

function select(
  heads: readonly SegmentRef[],
  selection: Partial<ParkedSelection> = {},
): Promise<SelectParkedAnswer> {
  const { contextPath, contextDigest } = run;
  const shards = heads.map((head, shard) => ({ shard, head }));
  return selectParked({ contextPath, contextDigest, shards, select: { ...ALL, ...selection } });
}

async function sealed(shard: number, parked: readonly [number, string][]): Promise<SegmentRef> {
  const tiles = parked.map(([tile, fingerprint]) => parkedTile(tile, { fingerprint }));
  return (await run.seal([], { shard, parked: tiles })).segment;
}

describe('selectParked', () => {
  test('answers the ranges of each shard, by tiles and by fingerprint', async () => {
    const heads = [
      await sealed(0, [[3, 'disk'], [1, 'disk'], [2, 'kernel'], [7, 'disk']]),
      await sealed(1, [[20, 'kernel']]),
    ]; // prettier-ignore
    const answered = async (selection: Partial<ParkedSelection>): Promise<unknown> =>
      (await select(heads, selection)).shards.map(({ tiles }) =>
        tiles.map(({ firstTile, endTile }) => [firstTile, endTile]),
      );
    expect(await answered({})).toEqual([[[1, 4], [7, 8]], [[20, 21]]]); // prettier-ignore
    expect(await answered({ fingerprint: 'disk' })).toEqual([[[1, 2], [3, 4], [7, 8]], []]); // prettier-ignore
    const tiles = [
      { firstTile: 3, endTile: 8 },
      { firstTile: 20, endTile: 21 },
    ];
    expect(await answered({ tiles })).toEqual([[[3, 4], [7, 8]], [[20, 21]]]); // prettier-ignore
    expect(await answered({ tiles, fingerprint: 'kernel' })).toEqual([[], [[20, 21]]]);
    expect(await answered({ fingerprint: 'none' })).toEqual([[], []]);
  });

  test('leaves out what was retried and is done, and judges by the last error', async () => {
    const first = await sealed(0, [[0, 'old'], [1, 'old']]); // prettier-ignore
    const part = await run.part({ firstTile: 0, endTile: 1 });
    const again = [parkedTile(1, { fingerprint: 'new' })];
    const { segment } = await run.seal([part], { sequence: 1, previous: first, parked: again });
    expect((await select([segment])).shards[0]?.tiles).toEqual([{ firstTile: 1, endTile: 2 }]);
    expect((await select([segment], { fingerprint: 'old' })).shards[0]?.tiles).toEqual([]);
  });

  test('answers at most 1,000 ranges, the first ones', async () => {
    const every = (shard: number): [number, string][] =>
      Array.from({ length: 700 }, (_, index) => [2_000 * shard + 2 * index, 'f']);
    const { shards } = await select([await sealed(0, every(0)), await sealed(1, every(1))]);
    expect(shards.map(({ tiles }) => tiles.length)).toEqual([700, 300]);
    expect(shards[1]?.tiles.at(-1)).toEqual({ firstTile: 2_598, endTile: 2_599 });
    expect(JSON.stringify(shards).length).toBeLessThan(65_536);
  });

  test('refuses a chain that was touched', async () => {
    const head = await sealed(0, [[0, 'f']]);
    const file = join(run.folder, 'segments', head.file);
    writeFileSync(file, readFileSync(file, 'utf8').replace('"tile":0', '"tile":1'));
    await expect(select([head])).rejects.toMatchObject({ code: 'SEGMENT_CORRUPT' });
  });
});
