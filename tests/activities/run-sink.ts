// Owns one run's sink for tests: parts as executors write them, seals and publications over real files.
// Tile t has two rows, one hit in feature t % 2, and a digest that is its number.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Client } from '@temporalio/client';
import { writeContext } from '../../activities/context.ts';
import { publishRun } from '../../activities/publish.ts';
import { sealSegment } from '../../activities/seal.ts';
import {
  claimSink,
  emptyPartials,
  encodePartials,
  partFileName,
  writeGeometry,
  writePart,
} from '../../datasets/index.ts';
import type { RunContext } from '../../executor/index.ts';
import { REGISTRY } from '../../registry/index.ts';
import type {
  ParkedTile,
  PartRef,
  PublishAnswer,
  PublishRequest,
  SealAnswer,
  SealRequest,
  SegmentRef,
  TileInterval,
} from '../../workflows/activity-contract.ts';
import { SPEC } from '../e2e/harness/simulated-values.ts';

export const RUN = 'run-1';

/** A service that knows one execution, `r`, with these events. */
export function serviceWith(events: readonly object[]): Client {
  const notFound = Object.assign(new Error('no such execution'), { code: 5 });
  return {
    options: { namespace: 'default' },
    workflow: {
      getHandle: () => ({ describe: async () => ({ runId: 'r' }) }),
      // oxlint-disable-next-line require-yield
      list: async function* () {},
    },
    workflowService: {
      getWorkflowExecutionHistory: async (asked: { execution: { runId: string } }) => {
        if (asked.execution.runId !== 'r') throw notFound;
        return { history: { events } };
      },
    },
  } as unknown as Client;
}

export interface SealChanges {
  readonly previous?: SegmentRef | null;
  readonly sequence?: number;
  readonly shard?: number;
  readonly parked?: readonly ParkedTile[];
  readonly workflow?: SealRequest['workflow'];
}

export class RunSink {
  readonly folder: string;
  readonly contextPath: string;
  readonly contextDigest: string;
  readonly #aggregate: boolean;

  private constructor(folder: string, context: readonly [string, string], aggregate: boolean) {
    this.folder = folder;
    [this.contextPath, this.contextDigest] = context;
    this.#aggregate = aggregate;
  }

  static async claim({ aggregate = false } = {}): Promise<RunSink> {
    const folder = mkdtempSync(join(tmpdir(), 'tileloom-commit-'));
    const paths = await claimSink(folder, RUN);
    const geometry = join(paths.records, 'layer.tlgeom');
    const sha256 = await writeGeometry(geometry, TWO_SQUARES);
    const context: RunContext = {
      schema: 'tileloom.run-context/1',
      runId: RUN,
      datasetPath: '/points',
      datasetDigest: 'd'.repeat(64),
      columns: { x: 'x', y: 'y', measures: [] },
      geometry: { path: geometry, sha256 },
      boundary: 'half-open',
      overlap: 'first',
      ...{ wrap: false, aggregate, rows: !aggregate },
      sinkPath: folder,
      memoryBytesMax: 2 ** 30,
    };
    const contextPath = join(paths.records, 'context.json');
    return new RunSink(folder, [contextPath, await writeContext(contextPath, context)], aggregate);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  async part({ firstTile, endTile }: TileInterval, token = 'a', shard = 0): Promise<PartRef> {
    const file = partFileName(shard, firstTile, endTile, token);
    const tiles = Array.from({ length: endTile - firstTile }, (_, index) => ({
      tile: firstTile + index,
      ...{ rows: 2, hits: 1, outside: 1, invalid: 0 },
      digest: (firstTile + index).toString(16).padStart(32, '0'),
      output: Int32Array.of(0, -1),
    }));
    const rows = 2 * tiles.length;
    const entries = [0, 1].flatMap((feature) => {
      const count = tiles.filter(({ tile }) => tile % 2 === feature).length;
      return count === 0 || !this.#aggregate ? [] : [{ feature, count, columns: [] }];
    });
    const totals = { ...emptyPartials(0), rows, hits: rows / 2, outside: rows / 2, entries };
    const path = join(this.folder, 'parts', file);
    const written = await writePart(path, { tiles, partials: encodePartials(totals) });
    return { file, sha256: written.sha256, bytes: written.bytes, rows, firstTile, endTile };
  }

  seal(
    parts: readonly PartRef[],
    changes: SealChanges = {},
    client = serviceWith([]),
  ): Promise<SealAnswer> {
    const { contextPath, contextDigest } = this;
    const request: SealRequest = {
      ...{ runId: RUN, contextPath, contextDigest, shard: 0, sequence: 0, parts },
      ...{ parked: [], previous: null },
      workflow: { id: 'w', runId: 'r', fromEventId: 7, throughEventId: 90 },
      ...changes,
    };
    return sealSegment({ client }, request);
  }

  publish(
    heads: PublishRequest['heads'],
    changes: Partial<PublishRequest> = {},
    client = serviceWith([]),
  ): Promise<PublishAnswer> {
    const { contextPath, contextDigest } = this;
    const request: PublishRequest = {
      ...{ runId: RUN, contextPath, contextDigest, spec: this.#spec(), specDigest: 'a'.repeat(64) },
      ...{ heads, tiles: 6, skipped: [], generation: 0 },
      ...changes,
    };
    return publishRun({ client, registry: REGISTRY, warn: () => undefined }, request);
  }

  /** Content of every file but leftovers of a crash, by relative name. */
  files(): Record<string, string> {
    const found = readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.tmp'))
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted();
    return Object.fromEntries(
      found.map((file) => [relative(this.folder, file), readFileSync(file, 'latin1')]),
    );
  }

  #spec(): PublishRequest['spec'] {
    if (!this.#aggregate) return SPEC;
    const [assign] = SPEC.steps;
    const step = { kind: 'aggregate', by: assign.as, measures: [{ kind: 'count' }] } as const;
    return { ...SPEC, steps: [assign, step], sink: { ...SPEC.sink, format: 'csv' } };
  }
}

export const parkedTile = (tile: number, changes: Partial<ParkedTile> = {}): ParkedTile => ({
  tile,
  errorClass: 'TILE_DATA_ERROR',
  fingerprint: 'f',
  input: '/points/data-00000.arrow',
  planId: 'p',
  message: 'TILE_CORRUPT: not readable',
  ...changes,
});

const TWO_SQUARES = {
  featureParts: Uint32Array.of(0, 1, 2),
  partRings: Uint32Array.of(0, 1, 2),
  ringVertices: Float64Array.of(0, 5, 10),
  x: Float64Array.of(0, 1, 1, 0, 0, 1, 2, 2, 1, 1),
  y: Float64Array.of(0, 0, 1, 1, 0, 0, 0, 1, 1, 0),
  meta: {
    crs: 'OGC:CRS84',
    ids: ['west', 'east'],
    names: null,
    bbox: [0, 0, 2, 1],
    maxAbs: 2,
  },
} as const;
