// Starts one real Temporal server, through the product's own server room, for the whole e2e lane.
// It has its own home and free ports, and dies with the test process, however that ends.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { homePaths, resolveTemporalBinary, startServer, stopServer } from '../../server/index.ts';
import { freePorts } from './harness/ports.ts';

export interface E2eServer {
  readonly address: string;
  readonly namespace: string;
  readonly port: number;
  readonly uiPort: number;
  /** TILELOOM_HOME of the server. */
  readonly home: string;
  /** For TILELOOM_TEMPORAL_BIN of processes with another home. */
  readonly temporalBinary: string;
  readonly pid: number;
}

declare module 'vitest' {
  interface ProvidedContext {
    temporal: E2eServer;
  }
}

const report = ({ step, message }: { step: string; message: string }): void => {
  if (['download', 'build', 'wait'].includes(step)) console.error(`e2e: ${message}`);
};

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const temporalBinary = await resolveTemporalBinary({ report });
  const home = mkdtempSync(join(tmpdir(), 'tileloom-e2e-'));
  const [port, uiPort] = await freePorts(2);
  const paths = homePaths({
    TILELOOM_HOME: home,
    TILELOOM_TEMPORAL_BIN: temporalBinary,
    TILELOOM_PORT: String(port),
    TILELOOM_UI_PORT: String(uiPort),
  });
  const server = await startServer({ report, paths, tieToParent: true });
  const { address, namespace, pid } = server;
  project.provide('temporal', {
    ...{ address, namespace, pid, home, temporalBinary },
    ...{ port: server.port, uiPort: server.uiPort },
  });
  return async () => {
    await stopServer({ report, paths });
    rmSync(home, { recursive: true, force: true });
  };
}
