import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { toFailure, withFailures } from '../../activities/index.ts';
import { cutShards } from '../../activities/prepare.ts';
import { EngineError } from '../../core/index.ts';
import { ExecutorError } from '../../executor/index.ts';

const errno = (code: string): Error =>
  Object.assign(new Error(`${code}: no, write`), { code, path: '/data/a.arrow' });

describe('toFailure', () => {
  test.each([
    ['a full disk', new EngineError('DISK_FULL', 'm'), 'DISK_FULL'],
    ['a lost lease', new EngineError('LEASE_LOST', 'm'), 'LEASE_LOST'],
    ['a draining host', new EngineError('HOST_DRAINING', 'm'), 'HOST_DRAINING'],
    ['an input that is away', new EngineError('INPUT_UNAVAILABLE', 'm'), 'INPUT_UNAVAILABLE'],
    ['memory that ran out', new EngineError('OUT_OF_MEMORY', 'm'), 'OUT_OF_MEMORY'],
    [
      'anything retryable',
      new EngineError('IO_FAILED', 'm', { retryable: true }),
      'INPUT_UNAVAILABLE',
    ],
    ['anything else', new EngineError('DATASET_CHANGED', 'm'), 'REFUSED'],
    ['a crash', new ExecutorError('KERNEL_FAULT', 'EXECUTOR_CRASHED', 'm'), 'KERNEL_FAULT'],
    ['bad data', new ExecutorError('TILE_DATA_ERROR', 'TILE_CORRUPT', 'm'), 'TILE_DATA_ERROR'],
    ['residency', new ExecutorError('RESIDENCY_LOST', 'EXECUTOR_BYSTANDER', 'm'), 'RESIDENCY_LOST'],
    ['ENOSPC', errno('ENOSPC'), 'DISK_FULL'],
    ['EIO', errno('EIO'), 'INPUT_UNAVAILABLE'],
    ['ESTALE', errno('ESTALE'), 'INPUT_UNAVAILABLE'],
    ['EMFILE', errno('EMFILE'), 'INPUT_UNAVAILABLE'],
  ])('maps %s', (_, error, type) => {
    const failure = toFailure(error) as ApplicationFailure;
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type, nonRetryable: true, message: error.message });
  });

  test('tells the tile, the input and a fingerprint without its numbers', () => {
    const error = (tile: number): ExecutorError =>
      new ExecutorError('TILE_DATA_ERROR', 'TILE_CORRUPT', `tile ${tile} is corrupt`, {
        tile,
        input: '/points/data-00001.arrow',
      });
    const [one, other] = [13, 14].map(
      (tile) => (toFailure(error(tile)) as ApplicationFailure).details?.[0],
    );
    expect(one).toMatchObject({
      code: 'TILE_CORRUPT',
      tile: 13,
      input: '/points/data-00001.arrow',
    });
    expect((one as { fingerprint: string }).fingerprint).toBe(
      (other as { fingerprint: string }).fingerprint,
    );
  });

  test.each([new TypeError('a bug'), errno('ENOENT'), 'text', null])('leaves %o alone', (error) => {
    expect(toFailure(error)).toBe(error);
  });

  test('is applied to what each activity of a set throws', async () => {
    const { fails } = withFailures({
      fails: async () => {
        throw new EngineError('DISK_FULL', 'm');
      },
    });
    await expect(fails()).rejects.toMatchObject({ type: 'DISK_FULL' });
  });
});

describe('cutShards', () => {
  test.each([
    [1, 1],
    [10, 3],
    [3, 10],
    [1_500_000, 367],
    [1_500_000, 1e9],
  ])('covers %i tiles asked for %i shards once, evenly, in 96 at most', (tiles, wanted) => {
    const shards = cutShards(tiles, wanted);
    expect(shards.length).toBe(Math.min(tiles, wanted, 96));
    expect(shards[0]?.firstTile).toBe(0);
    expect(shards.at(-1)?.endTile).toBe(tiles);
    const sizes = shards.map(({ firstTile, endTile }, index) => {
      expect(firstTile).toBe(index === 0 ? 0 : shards[index - 1]?.endTile);
      return endTile - firstTile;
    });
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  });
});
