// Temporal workers around SIMULATED work: one for workflows and io, and any number of hosts with a
// real lease pool each. Hosts can be drained, or vanish with their leases still out.
import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { CancelledFailure } from '@temporalio/common';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { NativeConnection, Runtime, DefaultLogger, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import { LeasePool } from '../../../worker/lease-pool.ts';
import { workflowBundlePath } from '../../../worker/workflow-bundle.ts';
import { isEngineError } from '../../../core/index.ts';
import type { runWorkflow } from '../../../workflows/run.ts';
import {
  QUEUES,
  type CancelRunRequest,
  type ClaimRequest,
  type ExecuteOrder,
  type PlanCall,
  type ReleaseRequest,
} from '../../../workflows/activity-contract.ts';
import {
  RUN_WORKFLOW,
  runWorkflowId,
  type RunInput,
  type RunResult,
} from '../../../workflows/messages.ts';
import { failure } from './simulated-values.ts';
import type { SimulatedWork } from './simulated-work.ts';

let installed = false;

function installRuntime(): void {
  if (installed) return;
  installed = true;
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' } } },
    shutdownSignals: [],
  });
}

export interface HostOptions {
  readonly capacity?: number;
  readonly chunksMax?: number;
  /** Whether it takes claims of work for GPUs. */
  readonly cuda?: boolean;
  /** Claims and plans, but never picks up an execute. */
  readonly deaf?: boolean;
}

export interface SimulatedHost {
  readonly name: string;
  readonly pool: LeasePool;
  /** Stops polling at once; what it was asked to do before is never answered. */
  vanish(): Promise<void>;
}

export interface Fleet {
  readonly client: Client;
  addHost(name: string, options?: HostOptions): Promise<SimulatedHost>;
  start(input: RunInput): Promise<WorkflowHandle<typeof runWorkflow>>;
  /** Starts a run and waits for its end. */
  run(input: RunInput): Promise<RunResult>;
  close(): Promise<void>;
}

/** Starts the workers that are no host's: workflows, and io over the simulated work. */
export async function startFleet(address: string, work: SimulatedWork): Promise<Fleet> {
  installRuntime();
  const natives: NativeConnection[] = [];
  const connect = async (): Promise<NativeConnection> => {
    const native = await NativeConnection.connect({ address });
    natives.push(native);
    return native;
  };
  const native = await connect();
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const running: { worker: Worker; ended: Promise<void> }[] = [];
  const started: string[] = [];
  const create = async (options: WorkerOptions): Promise<() => Promise<void>> => {
    const worker = await Worker.create({
      connection: native,
      maxHeartbeatThrottleInterval: '200ms',
      defaultHeartbeatThrottleInterval: '200ms',
      stickyQueueScheduleToStartTimeout: '1s',
      shutdownGraceTime: 0,
      shutdownForceTime: '2s',
      ...options,
    });
    const entry = { worker, ended: worker.run().catch(() => undefined) };
    running.push(entry);
    return () => stop(entry);
  };
  const stop = async ({ worker, ended }: (typeof running)[number]): Promise<void> => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await ended;
  };
  await create({
    taskQueue: QUEUES.workflows,
    workflowBundle: { codePath: await workflowBundlePath() },
    maxCachedWorkflows: 100,
  });
  await create({
    taskQueue: QUEUES.io,
    activities: {
      prepareRun: work.prepare.bind(work),
      sealSegment: work.seal.bind(work),
      publishRun: work.publish.bind(work),
      checkPins: work.checkPins.bind(work),
      selectParked: work.selectParked.bind(work),
      requireGpu: work.requireGpu.bind(work),
      cancelRun: async ({ workflowId, runId }: CancelRunRequest): Promise<void> => {
        await work.onCancel();
        await client.workflow.getHandle(workflowId, runId).cancel();
      },
    },
  });
  const start = async (input: RunInput): ReturnType<Fleet['start']> => {
    started.push(runWorkflowId(input.runId));
    return client.workflow.start<typeof runWorkflow>(RUN_WORKFLOW, {
      taskQueue: QUEUES.workflows,
      workflowId: runWorkflowId(input.runId),
      args: [input],
    });
  };
  return {
    client,
    addHost: async (name, options) => {
      // One connection cannot have two workers on one queue; real hosts have their own, too.
      const own = await connect();
      return addHost(name, options ?? {}, work, (more) => create({ connection: own, ...more }));
    },
    start,
    run: async (input) => (await start(input)).result(),
    close: async () => {
      for (const id of started) {
        await client.workflow
          .getHandle(id)
          .terminate('test is over')
          .catch(() => undefined);
      }
      await Promise.all(running.map(stop));
      await connection.close();
      await Promise.all(natives.map((open) => open.close()));
    },
  };
}

async function addHost(
  name: string,
  options: HostOptions,
  work: SimulatedWork,
  create: (options: WorkerOptions) => Promise<() => Promise<void>>,
): Promise<SimulatedHost> {
  const capacity = options.capacity ?? 2;
  const pool = new LeasePool({ capacity, ttlMs: 5_000, now: () => performance.now() });
  const book = pool.book();
  const bootId = randomUUID();
  const claimHost = mapped(async (_request: ClaimRequest) => {
    work.calls.push({ kind: 'claim', host: name });
    return {
      leaseId: book.claim({ runId: '', shard: 0, lane: 0 }),
      host: name,
      bootId,
      hostQueue: QUEUES.host(name),
      deviceQueues: { cpu: QUEUES.device(name, 'cpu') },
      chunksMax: options.chunksMax ?? 16,
    };
  });
  const plan = mapped(async (call: PlanCall) => {
    book.hold(call.leaseId).done();
    return work.plan(call, name);
  });
  const execute = mapped(async (order: ExecuteOrder) => {
    const hold = book.hold(order.leaseId);
    const beat = setInterval(() => {
      if (work.isSilent(order)) return;
      Context.current().heartbeat();
      hold.renew();
    }, 100);
    try {
      const cancelled = Context.current().cancelled;
      return await Promise.race([work.execute(order, name), cancelled]);
    } finally {
      clearInterval(beat);
      hold.done();
    }
  });
  const releaseLease = async ({ leaseId }: ReleaseRequest): Promise<void> => {
    work.calls.push({ kind: 'release', host: name });
    book.release(leaseId);
  };
  const fixed = { type: 'fixed-size', numSlots: 2 } as const;
  const pools = [
    { taskQueue: QUEUES.poolAny, supplier: pool.supplier },
    ...(options.cuda === true
      ? [{ taskQueue: QUEUES.poolCuda, supplier: pool.createSupplier(() => true) }]
      : []),
  ];
  const stops = await Promise.all([
    ...pools.map(({ taskQueue, supplier }) =>
      create({
        taskQueue,
        activities: { claimHost },
        tuner: {
          workflowTaskSlotSupplier: fixed,
          activityTaskSlotSupplier: supplier,
          localActivityTaskSlotSupplier: fixed,
          nexusTaskSlotSupplier: fixed,
        },
      }),
    ),
    create({ taskQueue: QUEUES.host(name), activities: { plan, releaseLease, claimHost } }),
    ...(options.deaf === true
      ? []
      : [create({ taskQueue: QUEUES.device(name, 'cpu'), activities: { execute } })]),
  ]);
  return {
    name,
    pool,
    vanish: async () => {
      await Promise.all(stops.map((stop) => stop()));
    },
  };
}

/** Puts a room's errors on the wire as the real activities do. */
function mapped<Request, Answer>(
  activity: (request: Request) => Promise<Answer>,
): (request: Request) => Promise<Answer> {
  return async (request) => {
    try {
      return await activity(request);
    } catch (error) {
      if (error instanceof CancelledFailure || !isEngineError(error)) throw error;
      throw failure(error.code === 'HOST_DRAINING' ? 'HOST_DRAINING' : 'LEASE_LOST');
    }
  };
}
