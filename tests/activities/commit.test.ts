// Seal and publish over real files: parts, segments, manifest and marker in a folder of each test.
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadContext, writeContext } from '../../activities/context.ts';
import { publishRun } from '../../activities/publish.ts';
import { sealSegment } from '../../activities/seal.ts';
import {
  claimSink,
  emptyPartials,
  encodePartials,
  partFileName,
  writePart,
} from '../../datasets/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import type { RunContext } from '../../executor/index.ts';
import type {
  ParkedTile,
  PartRef,
  PublishAnswer,
  PublishRequest,
  SealAnswer,
  SegmentRef,
  TileInterval,
} from '../../workflows/activity-contract.ts';
import { SPEC } from '../e2e/harness/simulated-values.ts';

const RUN = 'run-1';
/** A service that remembers no event: nothing is exported. */
const client = {
  options: { namespace: 'default' },
  workflowService: { getWorkflowExecutionHistory: async () => ({ history: { events: [] } }) },
} as unknown as Client;

let sink: string;
let contextPath: string;
let contextDigest: string;

beforeEach(async () => {
  sink = mkdtempSync(join(tmpdir(), 'tileloom-commit-'));
  const paths = await claimSink(sink, RUN);
  const context: RunContext = {
    schema: 'tileloom.run-context/1',
    runId: RUN,
    datasetPath: '/points',
    datasetDigest: 'd'.repeat(64),
    columns: { x: 'x', y: 'y', measures: [] },
    geometry: { path: '/none', sha256: 'e'.repeat(64) },
    boundary: 'half-open',
    overlap: 'first',
    ...{ wrap: false, aggregate: false, rows: true },
    sinkPath: sink,
    memoryBytesMax: 2 ** 30,
  };
  contextPath = join(paths.records, 'context.json');
  contextDigest = await writeContext(contextPath, context);
});
afterEach(() => rmSync(sink, { recursive: true, force: true }));

async function makePart({ firstTile, endTile }: TileInterval, token = 'a'): Promise<PartRef> {
  const file = partFileName(0, firstTile, endTile, token);
  const tiles = Array.from({ length: endTile - firstTile }, (_, index) => ({
    tile: firstTile + index,
    ...{ rows: 2, hits: 1, outside: 1, invalid: 0 },
    digest: (firstTile + index).toString(16).padStart(32, '0'),
    output: Int32Array.of(0, -1),
  }));
  const rows = 2 * tiles.length;
  const totals = { ...emptyPartials(0), rows, hits: rows / 2, outside: rows / 2 };
  const partials = encodePartials(totals);
  const written = await writePart(join(sink, 'parts', file), { tiles, partials });
  return { file, sha256: written.sha256, bytes: written.bytes, rows, firstTile, endTile };
}

const seal = (
  parts: readonly PartRef[],
  more: { previous?: SegmentRef | null; sequence?: number; parked?: readonly ParkedTile[] } = {},
): Promise<SealAnswer> =>
  sealSegment(
    { client },
    {
      ...{ runId: RUN, contextPath, contextDigest, shard: 0, parts },
      sequence: more.sequence ?? 0,
      parked: more.parked ?? [],
      previous: more.previous ?? null,
      workflow: { id: 'w', runId: 'r', fromEventId: 7, throughEventId: 90 },
    },
  );

const publish = (
  heads: PublishRequest['heads'],
  changes: Partial<PublishRequest> = {},
): Promise<PublishAnswer> =>
  publishRun(
    { registry: REGISTRY },
    {
      ...{ runId: RUN, contextPath, contextDigest, spec: SPEC, specDigest: 'a'.repeat(64) },
      ...{ heads, tiles: 6, skipped: [], generation: 0, workflow: { id: 'w', runId: 'r' } },
      ...changes,
    },
  );

/** Makes the folder look as before it was published; other content is refused otherwise. */
const forgetPublished = (): void => {
  for (const name of ['_SUCCESS', 'manifest.json']) rmSync(join(sink, name));
};

const parkedTile = (tile: number): ParkedTile => ({
  tile,
  errorClass: 'TILE_DATA_ERROR',
  fingerprint: 'f',
  input: '/points/data-00000.arrow',
  planId: 'p',
  message: 'TILE_CORRUPT: not readable',
});

describe('sealSegment', () => {
  test('gives a missing and a damaged part back as lost, and seals the others', async () => {
    const [good, gone, damaged] = await Promise.all(
      [0, 2, 4].map((firstTile) => makePart({ firstTile, endTile: firstTile + 2 })),
    );
    if (!good || !gone || !damaged) throw new Error('three parts');
    rmSync(join(sink, 'parts', gone.file));
    const file = join(sink, 'parts', damaged.file);
    const bytes = readFileSync(file);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const answer = await seal([good, gone, damaged]);
    expect(answer.lost).toEqual([
      { firstTile: 2, endTile: 4 },
      { firstTile: 4, endTile: 6 },
    ]);
    const text = readFileSync(join(sink, 'segments', answer.segment.file), 'utf8');
    expect((JSON.parse(text) as { parts: PartRef[] }).parts).toEqual([good]);
  });

  test('again gives the same answer and leaves the same files', async () => {
    const part = await makePart({ firstTile: 0, endTile: 6 });
    const first = await seal([part]);
    const names = readdirSync(join(sink, 'segments')).toSorted();
    expect(await seal([part])).toEqual(first);
    expect(readdirSync(join(sink, 'segments')).toSorted()).toEqual(names);
  });
});

describe('publishRun', () => {
  test('publishes a chain of segments once, however often and however many do it at once', async () => {
    const one = await seal([await makePart({ firstTile: 2, endTile: 6 })]);
    const two = await seal([await makePart({ firstTile: 0, endTile: 2 })], {
      sequence: 1,
      previous: one.segment,
    });
    const answers = await Promise.all([publish([two.segment]), publish([two.segment])]);
    expect(answers[0]).toMatchObject({ outcome: 'success', tiles: 6, rows: 12, hits: 6 });
    const marker = readFileSync(join(sink, '_SUCCESS'), 'utf8');
    const manifest = readFileSync(join(sink, 'manifest.json'), 'utf8');
    expect([answers[1], await publish([two.segment])]).toEqual([answers[0], answers[0]]);
    expect(readFileSync(join(sink, '_SUCCESS'), 'utf8')).toBe(marker);
    expect(readFileSync(join(sink, 'manifest.json'), 'utf8')).toBe(manifest);
  });

  test('has the same digest for other parts over the same tiles', async () => {
    const whole = await seal([await makePart({ firstTile: 0, endTile: 6 })]);
    const before = await publish([whole.segment]);
    const parts = await Promise.all(
      [0, 3].map((firstTile) => makePart({ firstTile, endTile: firstTile + 3 }, 'b')),
    );
    const cut = await seal(parts);
    forgetPublished();
    expect((await publish([cut.segment])).runDigest).toBe(before.runDigest);
  });

  test('is partial when a tile is parked, and the digest says so', async () => {
    const whole = await seal([await makePart({ firstTile: 0, endTile: 6 })]);
    const full = await publish([whole.segment]);
    forgetPublished();
    const parts = [await makePart({ firstTile: 0, endTile: 5 })];
    const { segment } = await seal(parts, { parked: [parkedTile(5)] });
    const partial = await publish([segment]);
    expect(partial).toMatchObject({ outcome: 'partial', parkedTiles: 1, rows: 10, tiles: 6 });
    expect(partial.runDigest).not.toBe(full.runDigest);
    const marker = JSON.parse(readFileSync(join(sink, '_PARTIAL'), 'utf8')) as object;
    expect(marker).toMatchObject({ parkedTiles: 1, runDigest: partial.runDigest });
  });

  test('refuses tiles that nobody computed, and tiles that two parts computed', async () => {
    const missing = await seal([await makePart({ firstTile: 0, endTile: 5 })]);
    await expect(publish([missing.segment])).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
    const twice = await seal([
      await makePart({ firstTile: 0, endTile: 6 }),
      await makePart({ firstTile: 5, endTile: 6 }, 'b'),
    ]);
    await expect(publish([twice.segment])).rejects.toMatchObject({ code: 'LEDGER_BROKEN' });
    expect(readdirSync(sink)).not.toContain('_SUCCESS');
  });

  test('refuses a segment that changed after it was sealed', async () => {
    const { segment } = await seal([await makePart({ firstTile: 0, endTile: 6 })]);
    const file = join(sink, 'segments', segment.file);
    writeFileSync(file, `${readFileSync(file, 'utf8')} `);
    await expect(publish([segment])).rejects.toMatchObject({ retryable: false });
    expect(readdirSync(sink)).not.toContain('_SUCCESS');
  });
});

describe('the context of a run', () => {
  test('is refused when it is not the one the run began with', async () => {
    writeFileSync(contextPath, readFileSync(contextPath, 'utf8').replace('half-open', 'covers'));
    await expect(loadContext(contextPath, contextDigest)).rejects.toMatchObject({
      code: 'CONTEXT_CHANGED',
    });
    await expect(seal([])).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' });
    await expect(publish([])).rejects.toMatchObject({ code: 'CONTEXT_CHANGED' });
  });
});
