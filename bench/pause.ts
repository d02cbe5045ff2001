// Measures how long an operator waits for a pause: the whole process `tileloom run pause ID -o json`, and
// the Update alone over an open connection. The run is real and open, but pinned to a host that is not
// there, so that it computes nothing: the figures are those of an idle machine, a server and a worker.
// Writes bench/record/<machine>/<date>-pause.json. Run: node bench/run.mjs pause [--pauses 200]
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import type { OperatorAnswer, OperatorCommand, OperatorRequest } from '../operator/index.ts';
import {
  OPERATE_UPDATE,
  STATUS_QUERY,
  runWorkflowId,
  type RunStatus,
} from '../workflows/messages.ts';
import { writeRecord } from './record.ts';

const { values } = parseArgs({ options: { pauses: { type: 'string', default: '200' } } });
const pauses = Number(values.pauses);
const folder = mkdtempSync(join(tmpdir(), 'tileloom-bench-pause-'));
const cli = resolve('dist', 'cli', 'main.js');
const environment = { ...process.env, TILELOOM_HOME: join(folder, 'home') };

function tileloom(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...words], {
    ...{ cwd: folder, env: environment, encoding: 'utf8' },
  });
  if (status !== 0) throw new Error(`tileloom ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** Starts a run that waits for a host which never comes; its id. */
function startRun(): string {
  tileloom('dataset', 'make', 'points', '--rows', '100000');
  const atlas = createRequire(import.meta.url).resolve('us-atlas/counties-10m.json');
  writeFileSync(join(folder, 'counties.topo.json'), readFileSync(atlas));
  writeFileSync(
    join(folder, 'pipeline.yaml'),
    `apiVersion: tileloom/v1
kind: Pipeline
name: pause
source: { dataset: ./points, crs: 'OGC:CRS84', wrap: true }
layers:
  counties: { file: ./counties.topo.json, object: counties, id: '@id' }
steps:
  - assign: { layer: counties, as: county }
  - aggregate: { by: county, measures: [count] }
sink: { path: ./out }
`,
  );
  const words = ['run', 'start', 'pipeline.yaml', '--pin', 'host=nobody', '-o', 'json'];
  return (JSON.parse(tileloom(...words)) as { runId: string }).runId;
}

interface Distribution {
  readonly samples: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Milliseconds, rounded to a tenth. */
function distribution(samples: readonly number[]): Distribution {
  const sorted = samples.toSorted((left, right) => left - right);
  const at = (share: number): number => {
    const index = Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1);
    return Math.round((sorted[index] ?? 0) * 10) / 10;
  };
  return { samples: sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

async function measure(client: Client, runId: string): Promise<Record<string, Distribution>> {
  const handle = client.workflow.getHandle(runWorkflowId(runId));
  const operate = async (command: OperatorCommand): Promise<number> => {
    const request: OperatorRequest = {
      schema: 'tileloom.operator-request/1',
      ...{ id: randomUUID(), by: 'bench', via: 'bench', reason: 'measuring' },
      ...{ notAfter: null, expectedEpoch: null, command },
    };
    const began = performance.now();
    await handle.executeUpdate<OperatorAnswer, [OperatorRequest]>(OPERATE_UPDATE, {
      args: [request],
      updateId: request.id,
    });
    return performance.now() - began;
  };
  while ((await handle.query<RunStatus>(STATUS_QUERY)).openShards.length === 0) await sleep(100);
  const whole: number[] = [];
  const bare: number[] = [];
  const updates: number[] = [];
  for (let round = 0; round < pauses; round += 1) {
    let began = performance.now();
    spawnSync(process.execPath, ['-e', '0']);
    bare.push(performance.now() - began);
    began = performance.now();
    tileloom('run', 'pause', runId, '-o', 'json');
    whole.push(performance.now() - began);
    updates.push(await operate({ verb: 'resume' }));
    updates.push(await operate({ verb: 'pause', mode: 'drain', ttlMs: null }));
    await operate({ verb: 'resume' });
  }
  return {
    process: distribution(whole),
    update: distribution(updates),
    emptyNodeProcess: distribution(bare),
  };
}

tileloom('server', 'start');
const worker = spawn(process.execPath, [cli, 'worker', 'start', '--roots', folder], {
  ...{ cwd: folder, env: environment, stdio: 'ignore' },
});
try {
  const runId = startRun();
  const { address } = JSON.parse(tileloom('server', 'status', '-o', 'json')) as { address: string };
  const connection = await Connection.connect({ address });
  const milliseconds = await measure(new Client({ connection }), runId);
  await connection.close();
  process.stdout.write(`${JSON.stringify(milliseconds, null, 2)}\n`);
  const facts = { command: 'tileloom run pause ID -o json', milliseconds };
  process.stdout.write(`${writeRecord('pause', facts)}\n`);
} finally {
  worker.kill('SIGTERM');
  await once(worker, 'exit');
  tileloom('server', 'stop');
  rmSync(folder, { recursive: true, force: true });
}
