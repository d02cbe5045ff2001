// A run that is retried after its end publishes anew: parked tiles that are done now, or skipped, and
// deaths at each step of replacing what was published before.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cleanSink, readManifest, readMarker } from '../../datasets/index.ts';
import type { PublishAnswer, SegmentRef } from '../../workflows/activity-contract.ts';
import { dyingAt } from './dying-files.ts';
import { RunSink, parkedTile } from './run-sink.ts';

let run: RunSink;
beforeEach(async () => {
  run = await RunSink.claim({ aggregate: true });
});
afterEach(() => run.remove());

/** Seals tiles 0 to 4 done and 5 parked. */
async function partial(): Promise<SegmentRef> {
  const part = await run.part({ firstTile: 0, endTile: 5 });
  return (await run.seal([part], { parked: [parkedTile(5)] })).segment;
}

/** Seals what became of tile 5 afterwards. */
async function retried(previous: SegmentRef, done: boolean, sequence = 1): Promise<SegmentRef> {
  const parts = done ? [await run.part({ firstTile: 5, endTile: 6 }, `r${sequence}`)] : [];
  const parked = done ? [] : [parkedTile(5, { errorClass: 'KERNEL_FAULT' })];
  return (await run.seal(parts, { sequence, previous, parked })).segment;
}

/** Whatever says that the run is published speaks of the manifest and the results beside it. */
async function expectTruth(): Promise<void> {
  const marker = await readMarker(run.folder);
  const names = Object.keys(run.files()).filter((name) => /^_(?!CLAIM)/u.test(name));
  if (marker === null) return expect(names).toEqual([]);
  expect(names).toEqual([marker.parkedTiles > marker.skippedTiles ? '_PARTIAL' : '_SUCCESS']);
  const manifest = await readManifest(run.folder);
  expect(manifest).toMatchObject({
    generation: marker.generation,
    runDigest: marker.runDigest,
    rows: marker.rows,
  });
  for (const { file, sha256 } of manifest?.results ?? []) {
    const bytes = readFileSync(join(run.folder, file));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
  }
}

describe('a retried run', () => {
  test('publishes the digest of a run in which nothing was parked', async () => {
    const first = await partial();
    expect(await run.publish([first])).toMatchObject({ outcome: 'partial', parkedTiles: 1 });
    const again = await run.publish([await retried(first, true)], { generation: 1 });
    expect(again).toMatchObject({ outcome: 'success', parkedTiles: 0, rows: 12, hits: 6 });
    await expectTruth();
    const undisturbed = await RunSink.claim({ aggregate: true });
    const whole = await undisturbed.part({ firstTile: 0, endTile: 6 });
    const { segment } = await undisturbed.seal([whole]);
    expect((await undisturbed.publish([segment])).runDigest).toBe(again.runDigest);
    for (const name of ['result.csv', 'map.svg']) {
      expect(run.files()[name]).toBe(undisturbed.files()[name]);
    }
    undisturbed.remove();
  });

  test('names each tile that stays parked once, with its last error', async () => {
    const first = await partial();
    const second = await retried(first, false);
    const answer = await run.publish([await retried(second, false, 2)]);
    expect(answer).toMatchObject({ outcome: 'partial', parkedTiles: 1, skippedTiles: 0 });
    expect((await readManifest(run.folder))?.parked).toEqual([
      { tile: 5, errorClass: 'KERNEL_FAULT', skipped: false },
    ]);
  });

  test('is a success when every parked tile is skipped, and says which', async () => {
    const first = await partial();
    const before = await run.publish([first]);
    const answer = await run.publish([first], {
      skipped: [
        { firstTile: 1, endTile: 2 },
        { firstTile: 4, endTile: 6 },
      ],
      generation: 1,
    });
    expect(answer).toMatchObject({ outcome: 'success', parkedTiles: 1, skippedTiles: 1, rows: 10 });
    expect(answer.runDigest).toBe(before.runDigest);
    expect((await readManifest(run.folder))?.parked).toMatchObject([{ tile: 5, skipped: true }]);
    expect(await readMarker(run.folder)).toMatchObject({ parkedTiles: 1, skippedTiles: 1 });
    await expectTruth();
  });

  test('keeps the manifests of all publications, and the files they name', async () => {
    const first = await partial();
    await run.publish([first]);
    const manifest = run.files()['manifest.json'];
    const second = await retried(first, false);
    await run.publish([second], { generation: 1 });
    // The third attempt ended before it published; the fourth did.
    await run.publish([await retried(second, true, 2)], { generation: 3 });
    const files = run.files();
    expect(files['manifest.0.json']).toBe(manifest);
    expect(Object.keys(files).filter((name) => name.startsWith('manifest'))).toEqual([
      ...['manifest.0.json', 'manifest.1.json', 'manifest.json'],
    ]);
    writeFileSync(join(run.folder, 'parts', '0-5-5-zombie.arrow'), 'x');
    const stray = 'shard-0-00009-0123456789abcdef.jsonl';
    writeFileSync(join(run.folder, 'records', stray), '');
    const { removed } = await cleanSink(run.folder, { keep: [] });
    expect(removed).toEqual(['parts/0-5-5-zombie.arrow', `records/${stray}`]);
    expect(run.files()).toEqual(files);
  });

  test('is not published over by an attempt of an earlier generation', async () => {
    const first = await partial();
    await run.publish([first]);
    const second = await retried(first, true);
    await run.publish([second], { generation: 1 });
    const files = run.files();
    const late = run.publish([first]);
    await expect(late).rejects.toMatchObject({ code: 'SINK_CONFLICT' });
    expect(run.files()).toEqual(files);
    const other = run.publish([first], { generation: 1 });
    await expect(other).rejects.toMatchObject({ code: 'SINK_CONFLICT' });
    expect(run.files()).toEqual(files);
  });

  test('reads markers from before there were generations', async () => {
    const first = await partial();
    await run.publish([first]);
    for (const name of ['_PARTIAL', 'manifest.json']) {
      const file = join(run.folder, name);
      const text = readFileSync(file, 'utf8').replace(/"generation":0,/u, '');
      writeFileSync(file, text.replace(/"skippedTiles":0,/u, ''));
    }
    expect(await readMarker(run.folder)).toMatchObject({ generation: 0, skippedTiles: 0 });
    await run.publish([await retried(first, true)], { generation: 1 });
    await expectTruth();
    expect((await readMarker(run.folder))?.generation).toBe(1);
  });
});

describe('a publication that dies', () => {
  /** Dies at each file operation in turn, then is tried again; the end must always be the same. */
  async function dieEverywhere(publish: () => Promise<PublishAnswer>): Promise<number> {
    const before = mkdtempSync(join(tmpdir(), 'tileloom-before-'));
    cpSync(run.folder, before, { recursive: true });
    const expected = await publish();
    const files = run.files();
    let operation = 0;
    for (; ; operation += 1) {
      rmSync(run.folder, { recursive: true });
      cpSync(before, run.folder, { recursive: true });
      const died = await dyingAt(operation, publish);
      await expectTruth();
      expect(await publish()).toEqual(expected);
      expect(run.files()).toEqual(files);
      await expectTruth();
      if (!died) break;
    }
    rmSync(before, { recursive: true });
    return operation;
  }

  test('at any file operation of the first one is repeated to the same end', async () => {
    const head = await partial();
    expect(await dieEverywhere(() => run.publish([head]))).toBeGreaterThan(10);
  });

  test('at any file operation of a later one leaves no marker that lies', async () => {
    const first = await partial();
    await run.publish([first]);
    const second = await retried(first, false);
    await run.publish([second], { generation: 1 });
    const third = await retried(second, true, 2);
    const publish = (): Promise<PublishAnswer> => run.publish([third], { generation: 2 });
    expect(await dieEverywhere(publish)).toBeGreaterThan(14);
  });
});
