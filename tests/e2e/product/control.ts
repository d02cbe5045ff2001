// Owns how tests operate runs: through the built command line, and in this process by its own way to a
// run, where a process for each request would take too long.
import { expect } from 'vitest';
import { servicePort } from '../../../cli/operator/port.ts';
import { makeRequest } from '../../../cli/operator/request.ts';
import { sendRequest, type Sent } from '../../../cli/operator/send.ts';
import type { RunReport } from '../../../cli/runs/report.ts';
import { readRunStatus } from '../../../cli/runs/status.ts';
import { runLines, serviceHistory, type HistoryLine } from '../../../history/index.ts';
import type { OperatorCommand } from '../../../operator/index.ts';
import type { ShardStatus } from '../../../workflows/messages.ts';
import { expectNoTrace, jsonOf, runCli, type CliResult } from './cli.ts';
import type { Stage } from './stage.ts';

/** What a request's JSON document says. */
export interface Answer {
  readonly queued: boolean;
  readonly epoch: number | null;
  readonly changed: boolean | null;
  readonly pins: readonly string[];
}

export interface Control {
  /** Runs a command line to its end. */
  cli(words: readonly string[]): Promise<CliResult>;
  /** Runs a request that must be accepted or queued. */
  ask(words: readonly string[]): Promise<Answer>;
  /** Runs a request that must be refused; returns the message. */
  refused(words: readonly string[], code: string, exit: number): Promise<string>;
  /** Sends a request without a process of its own. */
  send(runId: string, command: OperatorCommand): Promise<Sent>;
  report(runId: string): Promise<RunReport>;
  /** Resolves once so many tiles are done. */
  begun(runId: string, tiles?: number): Promise<void>;
  /** Clears every pin, so that the rest takes no time. */
  hurry(runId: string): Promise<void>;
  lines(runId: string): Promise<readonly HistoryLine[]>;
}

export async function until(what: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  await expect.poll(what, { timeout: timeoutMs, interval: 30 }).toBe(true);
}

/** What the first shard of a run tells; null while it cannot be asked. */
export async function shardStatusOf({ client }: Stage, runId: string): Promise<ShardStatus | null> {
  const handle = client.workflow.getHandle(`tileloom/${runId}/shard-0`);
  return handle.query<ShardStatus>('shardStatus').catch(() => null);
}

export async function tilesDoneOf(stage: Stage, runId: string): Promise<number> {
  return (await shardStatusOf(stage, runId))?.counts.tilesDone ?? 0;
}

/** Operates the runs of a stage. */
export function controlOf(stage: Stage): Control {
  const { client } = stage;
  const cli = (words: readonly string[]): Promise<CliResult> =>
    runCli(words, { env: stage.environment, cwd: stage.root });
  const report = (runId: string): Promise<RunReport> =>
    readRunStatus({ client, now: Date.now, local: null }, runId);
  const send = (runId: string, command: OperatorCommand): Promise<Sent> =>
    sendRequest(servicePort(client, runId), makeRequest(command, { reason: 'test' }), {
      now: Date.now,
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      timeoutMs: 10_000,
    });
  return {
    cli,
    report,
    send,
    ask: async (words) => {
      const result = await cli([...words, '-o', 'json']);
      expect(result, result.stderr).toMatchObject({ code: 0, stderr: '' });
      return jsonOf<Answer>(result);
    },
    refused: async (words, code, exit) => {
      const result = await cli([...words, '-o', 'json']);
      const { stdout, stderr } = result;
      expect({ code: result.code, stdout }, stderr).toEqual({ code: exit, stdout: '' });
      const error = JSON.parse(stderr) as { code: string; message: string };
      expect(error.code, error.message).toBe(code);
      expectNoTrace(stderr);
      return error.message;
    },
    begun: (runId, tiles = 4) =>
      until(async () => ((await report(runId)).counts?.done ?? 0) >= tiles),
    hurry: async (runId) => {
      await send(runId, { verb: 'unpin', ids: null });
    },
    lines: async (runId) => {
      const lines: HistoryLine[] = [];
      const service = serviceHistory(client);
      for await (const line of runLines(runId, { service, sink: null })) lines.push(line);
      return lines;
    },
  };
}
