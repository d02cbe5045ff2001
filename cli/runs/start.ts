// Owns starting a run: overrides from the command line, every check that can be made beforehand,
// the run's readable id, and the one call that makes it durable.
import { randomInt } from 'node:crypto';
import { access, constants, readdir, stat } from 'node:fs/promises';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { openDataset, readClaim, requireSameCrs } from '../../datasets/index.ts';
import { initialOperator } from '../../operator/index.ts';
import { policyById } from '../../planner/index.ts';
import { specDigest, type PipelineSpec, type SpecPin } from '../../spec/index.ts';
import { QUEUES } from '../../workflows/activity-contract.ts';
import {
  DEFAULT_TUNING,
  RUN_WORKFLOW,
  WORKFLOW_TASK_TIMEOUT_MS,
  runWorkflowId,
  type RunInput,
} from '../../workflows/messages.ts';
import { CliError } from '../errors.ts';
import { authorName } from '../operator/author.ts';
import type { Session } from '../session.ts';
import { operatorPins } from './pins.ts';
import { nearestFolder } from './roots.ts';

export interface StartOverrides {
  readonly mode?: PipelineSpec['plan']['mode'] | undefined;
  readonly precision?: PipelineSpec['plan']['precision'] | undefined;
  readonly lanes?: number | undefined;
  /** Absolute path. */
  readonly sink?: string | undefined;
  readonly pins: readonly SpecPin[];
}

/** Applies what the command line says to a spec; the result is what the run's digest names. */
export function overrideSpec(spec: PipelineSpec, overrides: StartOverrides): PipelineSpec {
  return {
    ...spec,
    sink: { ...spec.sink, path: overrides.sink ?? spec.sink.path },
    plan: {
      ...spec.plan,
      mode: overrides.mode ?? spec.plan.mode,
      precision: overrides.precision ?? spec.plan.precision,
      pins: [...spec.plan.pins, ...overrides.pins],
    },
    limits: { ...spec.limits, lanes: overrides.lanes ?? spec.limits.lanes },
  };
}

/**
 * Checks everything that can be checked before a run starts: policy, dataset, measured columns, CRS,
 * layer files, sink.
 *
 * @param spec with absolute paths
 * @throws {EngineError} of the room that found something wrong
 */
export async function checkBeforeStart(
  spec: PipelineSpec,
): Promise<{ tiles: number; rows: number }> {
  policyById(spec.plan.policy);
  const dataset = await openDataset(spec.source.dataset);
  const { manifest } = dataset;
  requireSameCrs(`dataset ${dataset.path}`, spec.source.crs, manifest.crs);
  const measures = (spec.steps[1]?.measures ?? []).flatMap((measure) =>
    measure.kind === 'count' ? [] : [measure.column],
  );
  dataset.tileSource({ ...manifest.coordinates, measures: [...new Set(measures)] }).close();
  const layer = spec.layers[spec.steps[0].layer];
  if (layer !== undefined) {
    await requireReadable(`layer ${spec.steps[0].layer}`, layer.file);
  }
  await requireFreeSink(spec.sink.path);
  return { tiles: manifest.tiles, rows: manifest.rows };
}

async function requireReadable(what: string, file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
    if ((await stat(file)).isFile()) {
      return;
    }
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw missing(
      `${what} cannot be read: expected a readable file at ${file}, got ${reason}`,
      file,
    );
  }
  throw missing(`${what} cannot be read: expected a file at ${file}, got a folder`, file);
}

function missing(message: string, file: string): CliError {
  return new CliError('CLI_PATH_MISSING', `${message}; check the path in the spec`, {
    details: { file },
  });
}

/** A sink is free when nobody claimed it and it holds nothing yet. */
async function requireFreeSink(sink: string): Promise<void> {
  const owner = await readClaim(sink);
  if (owner !== null) {
    throw new CliError(
      'CLI_SINK_CLAIMED',
      `sink ${sink} belongs to a run already: expected a free folder, got the folder of run ${owner}; ` +
        'choose another with --sink',
      { details: { path: sink, runId: owner } },
    );
  }
  const names = await readdir(sink).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') {
      return [];
    }
    throw missing(
      `sink cannot be used: expected a folder at ${sink}, got ${error.code ?? ''}`,
      sink,
    );
  });
  if (names.length > 0) {
    throw new CliError(
      'CLI_SINK_CLAIMED',
      `sink ${sink} is not empty: expected an empty or missing folder, got ${names.slice(0, 3).join(', ')}; ` +
        'choose another with --sink',
      { details: { path: sink, files: names.length } },
    );
  }
  const parent = await nearestFolder(sink);
  await access(parent, constants.W_OK).catch(() => {
    throw missing(`sink ${sink} cannot be made: expected a writable ${parent}, got none`, sink);
  });
}

const ID_LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789';
const ID_LENGTH = 6;

/** A readable run id: `<name>-<yyyymmdd>-<6 random>`, without letters that look alike. */
export function makeRunId(name: string, nowMs: number): string {
  const date = new Date(nowMs).toISOString().slice(0, 10).replaceAll('-', '');
  const random = Array.from(
    { length: ID_LENGTH },
    () => ID_LETTERS[randomInt(ID_LETTERS.length)] ?? '',
  ).join('');
  return `${name}-${date}-${random}`;
}

export interface SubmittedRun {
  readonly runId: string;
  readonly workflowId: string;
  readonly sink: string;
  readonly specDigest: string;
}

export interface Submission {
  readonly runId: string;
  /** With absolute paths and overrides. */
  readonly spec: PipelineSpec;
  /** The same with paths as written: its digest is the pipeline's identity. */
  readonly written: PipelineSpec;
}

/**
 * Starts the run workflow.
 *
 * @throws {CliError} `CLI_RUN_EXISTS`
 */
export async function submitRun(
  { client, settings }: Pick<Session, 'client' | 'settings'>,
  { runId, spec, written }: Submission,
): Promise<SubmittedRun> {
  const digest = specDigest(written);
  const workflowId = runWorkflowId(runId);
  const input: RunInput = {
    schema: 'tileloom.run-input/1',
    runId,
    spec,
    specDigest: digest,
    operator: initialOperator(operatorPins(spec.plan.pins, authorName()), {
      lanes: spec.limits.lanes,
      chunkSecondsTarget: spec.plan.chunkSecondsTarget,
      memoryBytesMax: spec.limits.memoryBytesMax,
      cadence: spec.plan.cadence,
      failedTiles: spec.limits.failedTiles,
    }),
    tuning: { ...DEFAULT_TUNING, searchAttributes: settings.searchAttributes },
    carried: null,
  };
  try {
    await client.workflow.start(RUN_WORKFLOW, {
      taskQueue: QUEUES.workflows,
      workflowId,
      args: [input],
      workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT_MS,
      memo: { name: spec.name, sink: spec.sink.path, specDigest: digest },
      staticSummary: `${spec.name} → ${spec.sink.path}`,
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
    });
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) {
      throw new CliError(
        'CLI_RUN_EXISTS',
        `run ${runId} exists already: expected a new id, got one in use; choose another --run-id`,
        { details: { runId }, cause: error },
      );
    }
    throw error;
  }
  return { runId, workflowId, sink: spec.sink.path, specDigest: digest };
}
