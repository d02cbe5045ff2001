// Owns the stage of a product test: a folder with a dataset and a layer, a home of its own, a client.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { makeDataset } from '../../../datasets/index.ts';
import type { E2eServer } from '../global-setup.ts';
import {
  killAllWorkers,
  startWorkerProcess,
  type WorkerOptions,
  type WorkerProcess,
} from './processes.ts';

export const STAGE_ROWS = 160_000;
export const STAGE_TILE_ROWS = 1_024;
export const STAGE_TILES = Math.ceil(STAGE_ROWS / STAGE_TILE_ROWS);

export interface Stage {
  readonly root: string;
  readonly dataset: string;
  readonly layer: string;
  readonly client: Client;
  readonly environment: NodeJS.ProcessEnv;
  /** TILELOOM_HOME of everything that is started here. */
  readonly home: string;
  /** Path of a sink of that name, not made yet. */
  sink(name: string): string;
  /** Starts a worker whose only root is the stage's folder, with further variables if given. */
  startWorker(
    options: Omit<WorkerOptions, 'roots'>,
    variables?: NodeJS.ProcessEnv,
  ): Promise<WorkerProcess>;
  close(): Promise<void>;
}

/** Sets a stage against a running server; `address` is another server's when it is given. */
export async function setStage(server: E2eServer, address = server.address): Promise<Stage> {
  const root = mkdtempSync(join(tmpdir(), 'tileloom-stage-'));
  const dataset = join(root, 'points');
  const layer = join(root, 'counties.json');
  mkdirSync(join(root, 'sinks'));
  copyFileSync(createRequire(import.meta.url).resolve('us-atlas/counties-10m.json'), layer);
  await makeDataset({ out: dataset, rows: STAGE_ROWS, tileRows: STAGE_TILE_ROWS, threads: 1 });
  const connection = await Connection.connect({ address });
  const home = join(root, 'home');
  const environment = { TILELOOM_HOME: home, TEMPORAL_ADDRESS: address };
  return {
    root,
    dataset,
    layer,
    client: new Client({ connection, namespace: server.namespace }),
    environment,
    home,
    sink: (name) => join(root, 'sinks', name),
    startWorker: (options, variables) =>
      startWorkerProcess({ ...options, roots: [root] }, { ...environment, ...variables }),
    close: async () => {
      await killAllWorkers();
      await connection.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
