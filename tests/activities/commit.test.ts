// Seal and publish over real files: parts, segments, manifest and marker in a folder of each test.
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadContext } from '../../activities/context.ts';
import type { PartRef } from '../../workflows/activity-contract.ts';
import { RunSink, parkedTile } from './run-sink.ts';

let run: RunSink;
let sink: string;

beforeEach(async () => {
  run = await RunSink.claim();
  sink = run.folder;
});
afterEach(() => run.remove());

/** Makes the folder look as before it was published; other content is refused otherwise. */
const forgetPublished = (): void => {
  for (const name of ['_SUCCESS', 'manifest.json']) rmSync(join(sink, name));
};

describe('sealSegment', () => {
  test('gives a missing and a damaged part back as lost, and seals the others', async () => {
    const [good, gone, damaged] = await Promise.all(
      [0, 2, 4].map((firstTile) => run.part({ firstTile, endTile: firstTile + 2 })),
    );
    if (!good || !gone || !damaged) throw new Error('three parts');
    rmSync(join(sink, 'parts', gone.file));
    const file = join(sink, 'parts', damaged.file);
    const bytes = readFileSync(file);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const answer = await run.seal([good, gone, damaged]);
    expect(answer.lost).toEqual([
      { firstTile: 2, endTile: 4 },
      { firstTile: 4, endTile: 6 },
    ]);
    const text = readFileSync(join(sink, 'segments', answer.segment.file), 'utf8');
    expect((JSON.parse(text) as { parts: PartRef[] }).parts).toEqual([good]);
  });

  test('again gives the same answer and leaves the same files', async () => {
    const part = await run.part({ firstTile: 0, endTile: 6 });
    const first = await run.seal([part]);
    const names = readdirSync(join(sink, 'segments')).toSorted();
    expect(await run.seal([part])).toEqual(first);
    expect(readdirSync(join(sink, 'segments')).toSorted()).toEqual(names);
  });
});

describe('publishRun', () => {
  test('publishes a chain of segments once, however often and however many do it at once', async () => {
    const one = await run.seal([await run.part({ firstTile: 2, endTile: 6 })]);
    const two = await run.seal([await run.part({ firstTile: 0, endTile: 2 })], {
      sequence: 1,
      previous: one.segment,
    });
    const answers = await Promise.all([run.publish([two.segment]), run.publish([two.segment])]);
    expect(answers[0]).toMatchObject({ outcome: 'success', tiles: 6, rows: 12, hits: 6 });
    const marker = readFileSync(join(sink, '_SUCCESS'), 'utf8');
    const manifest = readFileSync(join(sink, 'manifest.json'), 'utf8');
    expect([answers[1], await run.publish([two.segment])]).toEqual([answers[0], answers[0]]);
    expect(readFileSync(join(sink, '_SUCCESS'), 'utf8')).toBe(marker);
    expect(readFileSync(join(sink, 'manifest.json'), 'utf8')).toBe(manifest);
  });

  test('has the same digest for other parts over the same tiles', async () => {
    const whole = await run.seal([await run.part({ firstTile: 0, endTile: 6 })]);
    const before = await run.publish([whole.segment]);
    const parts = await Promise.all(
      [0, 3].map((firstTile) => run.part({ firstTile, endTile: firstTile + 3 }, 'b')),
    );
    const cut = await run.seal(parts);
    forgetPublished();
    expect((await run.publish([cut.segment])).runDigest).toBe(before.runDigest);
  });

  test('is partial when a tile is parked, and the digest says so', async () => {
    const whole = await run.seal([await run.part({ firstTile: 0, endTile: 6 })]);
    const full = await run.publish([whole.segment]);
    forgetPublished();
    const parts = [await run.part({ firstTile: 0, endTile: 5 })];
    const { segment } = await run.seal(parts, { parked: [parkedTile(5)] });
    const partial = await run.publish([segment]);
    expect(partial).toMatchObject({ outcome: 'partial', parkedTiles: 1, rows: 10, tiles: 6 });
    expect(partial.runDigest).not.toBe(full.runDigest);
    const marker = JSON.parse(readFileSync(join(sink, '_PARTIAL'), 'utf8')) as object;
    expect(marker).toMatchObject({ parkedTiles: 1, runDigest: partial.runDigest });
  });

  test('refuses tiles that nobody computed, and tiles that two parts computed', async () => {
    const missing = await run.seal([await run.part({ firstTile: 0, endTile: 5 })]);
    await expect(run.publish([missing.segment])).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
    const twice = await run.seal([
      await run.part({ firstTile: 0, endTile: 6 }),
      await run.part({ firstTile: 5, endTile: 6 }, 'b'),
    ]);
    await expect(run.publish([twice.segment])).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
    expect(readdirSync(sink)).not.toContain('_SUCCESS');
  });

  test('refuses a segment that changed after it was sealed', async () => {
    const { segment } = await run.seal([await run.part({ firstTile: 0, endTile: 6 })]);
    const file = join(sink, 'segments', segment.file);
    writeFileSync(file, `${readFileSync(file, 'utf8')} `);
    await expect(run.publish([segment])).rejects.toMatchObject({ retryable: false });
    expect(readdirSync(sink)).not.toContain('_SUCCESS');
  });
});

describe('the context of a run', () => {
  test('is refused when it is not the one the run began with', async () => {
    writeFileSync(
      run.contextPath,
      readFileSync(run.contextPath, 'utf8').replace('half-open', 'covers'),
    );
    await expect(loadContext(run.contextPath, run.contextDigest)).rejects.toMatchObject({
      code: 'CONTEXT_CHANGED',
    });
    await expect(run.seal([])).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' });
    await expect(run.publish([])).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' });
  });
});
