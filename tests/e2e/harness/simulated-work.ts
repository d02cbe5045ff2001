// A SIMULATED engine for workflow tests: activities that compute nothing and keep parts, segments
// and the ledger in memory. Everything between them (server, SDK, workflows, lease pool) is real.
//
// The ledger is checked as the real publish checks it: each tile exactly once.
import { createHash } from 'node:crypto';
import type {
  CheckPinsAnswer,
  CheckPinsRequest,
  ExecuteAnswer,
  ExecuteOrder,
  ParkedTile,
  PartRef,
  PlanAnswer,
  PlanCall,
  PrepareRequest,
  RequireGpuRequest,
  PreparedRun,
  PublishAnswer,
  PublishRequest,
  SealAnswer,
  SealRequest,
  SegmentRef,
  SelectParkedAnswer,
  SelectParkedRequest,
} from '../../../workflows/activity-contract.ts';
import { completeRequest, type Plan } from '../../../planner/index.ts';
import { uniteTiles } from '../../../workflows/intervals.ts';
import { simulatedRefusal, simulatedSnapshot, WORK } from './simulated-values.ts';

export interface SimulatedDataset {
  readonly tiles: number;
  readonly tileRows: number;
  /**
   * Tiles a plan asks for when nothing limits it; the probe's plan asks for this as its hint, too.
   */
  readonly chunkTiles: number;
}

/** One recorded call; tests look at these. */
export type Call =
  | { readonly kind: 'claim'; readonly host: string }
  | { readonly kind: 'release'; readonly host: string }
  | { readonly kind: 'plan'; readonly host: string; readonly call: PlanCall }
  | { readonly kind: 'execute'; readonly host: string; readonly order: ExecuteOrder }
  | { readonly kind: 'seal'; readonly request: SealRequest }
  | { readonly kind: 'select'; readonly request: SelectParkedRequest }
  | { readonly kind: 'publish'; readonly request: PublishRequest };

export interface Segment {
  readonly ref: SegmentRef;
  readonly parts: readonly PartRef[];
  readonly parked: readonly ParkedTile[];
}

/** State shared by all simulated hosts of a test, and the places where a test steps in. */
export class SimulatedWork {
  readonly dataset: SimulatedDataset;
  readonly calls: Call[] = [];
  readonly segments = new Map<string, Segment>();
  variants: readonly string[] = ['sim/quick@1', 'sim/plain@1'];
  leaseChunks = 1;
  executeMs = 5;
  /** Step in before a call is answered; throw to let it fail. */
  onPlan: (call: PlanCall, host: string) => Promise<PlanAnswer['decision'] | void> | void = () =>
    undefined;
  onExecute: (order: ExecuteOrder, host: string) => Promise<void> | void = () => undefined;
  /** Executes that send no heartbeat, as if their host had died. */
  isSilent: (order: ExecuteOrder) => boolean = () => false;
  onSeal: (request: SealRequest) => Promise<readonly PartRef[] | void> | readonly PartRef[] | void =
    () => undefined;
  onRequireGpu: (request: RequireGpuRequest) => Promise<void> | void = () => undefined;
  onPrepare: (request: PrepareRequest) => Promise<void> | void = () => undefined;

  onCheckPins: (request: CheckPinsRequest) => Promise<readonly string[]> | readonly string[] =
    () => [];
  onSelect: (request: SelectParkedRequest) => Promise<void> | void = () => undefined;
  onCancel: () => Promise<void> | void = () => undefined;
  onPublish: (request: PublishRequest) => Promise<void> | void = () => undefined;

  constructor(dataset: Partial<SimulatedDataset> = {}) {
    this.dataset = { tiles: 40, tileRows: 1000, chunkTiles: 4, ...dataset };
  }

  executed(): readonly ExecuteOrder[] {
    return this.calls.flatMap((call) => (call.kind === 'execute' ? [call.order] : []));
  }

  planned(): readonly PlanCall[] {
    return this.calls.flatMap((call) => (call.kind === 'plan' ? [call.call] : []));
  }

  async requireGpu(request: RequireGpuRequest): Promise<void> {
    await this.onRequireGpu(request);
  }

  async prepare(request: PrepareRequest): Promise<PreparedRun> {
    await this.onPrepare(request);
    const { tiles, tileRows } = this.dataset;
    const shards = [];
    for (let firstTile = 0; firstTile < tiles; firstTile += request.shardTilesMax) {
      shards.push({ firstTile, endTile: Math.min(tiles, firstTile + request.shardTilesMax) });
    }
    return {
      contextPath: `/simulated/${request.runId}/context.json`,
      contextDigest: digest('context'),
      datasetDigest: digest('dataset'),
      tiles,
      rows: tiles * tileRows,
      tileRows,
      shards,
      work: WORK,
      warnings: [],
    };
  }

  async plan(call: PlanCall, host: string): Promise<PlanAnswer> {
    this.calls.push({ kind: 'plan', host, call });
    const own = await this.onPlan(call, host);
    return {
      decision: own ?? this.decide(call, host),
      snapshot: simulatedSnapshot(host),
      policy: { id: 'simulated@1', digest: digest('policy') },
      registry: { digest: digest('registry') },
    };
  }

  /** The pinned variant, else the first that is not excluded; as many tiles as wanted and allowed. */
  decide(call: PlanCall, host: string): PlanAnswer['decision'] {
    const { where, limits, excluded } = call.request;
    const snapshot = { ...simulatedSnapshot(host), takenAt: Date.now() };
    const identity = { policy: { id: '', digest: '' }, registry: { digest: '' } };
    const { winners, tilesUntilChange } = completeRequest(call.request, snapshot, identity).pins;
    const out = new Set(excluded.map(({ variant }) => variant));
    const pinned = winners.find(({ aspect }) => aspect === 'variant');
    const elsewhere = winners.find(({ aspect, value }) => aspect === 'host' && value !== host);
    const known = pinned === undefined ? this.variants : [String(pinned.value)];
    const variant = known.find((name) => this.variants.includes(name) && !out.has(name));
    if (variant === undefined || elsewhere !== undefined) {
      const culprit = elsewhere ?? pinned;
      return simulatedRefusal(this.variants, culprit?.ifImpossible ?? 'fail', culprit?.id);
    }
    const { tileRows, chunkTiles } = this.dataset;
    const rowsMax = Math.min(chunkTiles * tileRows, limits.chunkRowsMax ?? Infinity);
    const wanted = Math.max(1, Math.floor(rowsMax / tileRows));
    const tiles = Math.min(where.reservedTiles, wanted, tilesUntilChange ?? Infinity);
    return this.planOf(variant, tiles, wanted * tileRows, call);
  }

  private planOf(variant: string, chunkTiles: number, chunkRowsHint: number, call: PlanCall): Plan {
    const candidates = this.variants.map((name) => ({
      variant: name,
      deviceId: 'cpu',
      score: name === variant ? 9.25 : 4.5,
      terms: { kernelClass: 4, geometry: 3, residency: 1, speed: 1.25 },
    }));
    return {
      schema: 'tileloom.plan/1',
      planId: digest(`${variant} ${JSON.stringify(call.request.where)}`),
      runtime: 'cpu',
      deviceId: 'cpu',
      variant,
      precision: {
        storage: 'fp64',
        compute: 'fp64',
        compensation: 'none',
        refinement: 'exact',
        center: false,
      },
      chunkTiles,
      chunkRowsHint,
      leaseChunks: this.leaseChunks,
      reasons: [
        { code: 'NO_GPU', params: { backend: 'unavailable' } },
        { code: 'CHUNK_BY_TIME', params: { seconds: 1, rowsPerSecond: 61_000_000 } },
      ],
      candidates,
      predicted: { seconds: 0.91, bytesIn: 1e8, bytesOut: 1e6, peakBytes: 3e8 },
    };
  }

  async execute(order: ExecuteOrder, host: string): Promise<ExecuteAnswer> {
    this.calls.push({ kind: 'execute', host, order });
    await this.onExecute(order, host);
    await new Promise((resolve) => setTimeout(resolve, this.executeMs));
    const rows = (order.endTile - order.firstTile) * this.dataset.tileRows;
    const file = `${order.shard}-${order.firstTile}-${order.endTile - 1}-${randomToken()}.arrow`;
    return {
      part: {
        file,
        sha256: digest(file),
        bytes: rows * 4,
        rows,
        firstTile: order.firstTile,
        endTile: order.endTile,
      },
      hits: rows - 2,
      outside: 1,
      invalid: 1,
      deviceClass: 'cpu-sim',
      image: digest('image'),
      peakBytes: 1_000_000,
      seconds: { queued: 0.01, work: 0.9, read: 0.2, kernel: 0.6, write: 0.1 },
    };
  }

  async seal(request: SealRequest): Promise<SealAnswer> {
    this.calls.push({ kind: 'seal', request });
    const lost = (await this.onSeal(request)) ?? [];
    const parts = request.parts.filter((part) => !lost.includes(part));
    const sha256 = digest(JSON.stringify([request.shard, request.sequence, parts]));
    const previousSha256 = request.previous?.sha256 ?? null;
    const ref = {
      file: `segments/${request.shard}-${request.sequence}.json`,
      sha256,
      previousSha256,
    };
    this.segments.set(sha256, { ref, parts, parked: request.parked });
    return {
      segment: ref,
      lost: lost.map(({ firstTile, endTile }) => ({ firstTile, endTile })),
    };
  }

  async checkPins(request: CheckPinsRequest): Promise<CheckPinsAnswer> {
    return { problems: await this.onCheckPins(request) };
  }

  /** Tiles that are parked and not done later, per shard and joined. */
  async selectParked(request: SelectParkedRequest): Promise<SelectParkedAnswer> {
    this.calls.push({ kind: 'select', request });
    await this.onSelect(request);
    const { tiles, fingerprint } = request.select;
    const isMeant = (one: ParkedTile): boolean =>
      (fingerprint === null || one.fingerprint === fingerprint) &&
      (tiles === null ||
        tiles.some(({ firstTile, endTile }) => firstTile <= one.tile && one.tile < endTile));
    const shards = request.shards.map(({ shard, head }) => {
      const { parkedRecords } = this.ledger([head]);
      const meant = parkedRecords.filter(isMeant).map(({ tile }) => tile);
      return {
        shard,
        tiles: uniteTiles(meant.map((tile) => ({ firstTile: tile, endTile: tile + 1 }))),
      };
    });
    return { shards };
  }

  async publish(request: PublishRequest): Promise<PublishAnswer> {
    this.calls.push({ kind: 'publish', request });
    await this.onPublish(request);
    const { done, parked } = this.ledger(request.heads);
    const tiles = [...done, ...parked].toSorted((a, b) => a - b);
    const wrong = tiles.findIndex((tile, index) => tile !== index);
    if (tiles.length !== request.tiles || wrong >= 0) {
      throw new Error(`ledger does not cover each tile once: ${tiles.join(',')}`);
    }
    const skipped = parked.filter((tile) =>
      request.skipped.some(({ firstTile, endTile }) => firstTile <= tile && tile < endTile),
    );
    return {
      outcome: parked.length > skipped.length ? 'partial' : 'success',
      runDigest: digest(parked.join(',')),
      manifest: 'manifest.json',
      result: 'result.csv',
      tiles: tiles.length,
      rows: done.length * this.dataset.tileRows,
      hits: 0,
      outside: 0,
      invalid: 0,
      parkedTiles: parked.length,
      skippedTiles: skipped.length,
    };
  }

  /**
   * Tiles that the segment chains below these heads name, with repetitions of what is done; a tile is
   * parked when no segment names it as done.
   */
  ledger(heads: readonly (SegmentRef | null)[]): {
    done: number[];
    parked: number[];
    parkedRecords: readonly ParkedTile[];
  } {
    const done: number[] = [];
    const parked = new Map<number, ParkedTile>();
    for (const head of heads) {
      for (let at = head?.sha256 ?? null; at !== null;) {
        const segment = this.segments.get(at);
        if (segment === undefined) throw new Error(`segment ${at} is not there`);
        for (const { firstTile, endTile } of segment.parts) {
          for (let tile = firstTile; tile < endTile; tile += 1) done.push(tile);
        }
        for (const one of segment.parked) parked.set(one.tile, parked.get(one.tile) ?? one);
        at = segment.ref.previousSha256;
      }
    }
    for (const tile of done) parked.delete(tile);
    const tiles = [...parked.keys()].toSorted((a, b) => a - b);
    return { done, parked: tiles, parkedRecords: [...parked.values()] };
  }
}

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function randomToken(): string {
  return Math.random().toString(36).slice(2, 10);
}
