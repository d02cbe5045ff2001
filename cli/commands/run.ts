// Owns `tileloom run list | status | watch | wait`: seeing how runs do.
import { Option, type Command } from 'commander';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { formatTable, formatTime } from '../format.ts';
import { RUN_ARGUMENT } from '../operator/command.ts';
import { countOption, durationOption, numberOf, textOf } from '../options.ts';
import { STATUS_SCHEMA, finishFollowing, follow, followUntil } from '../runs/follow-command.ts';
import { GOALS, goalOf } from '../runs/goals.ts';
import { listRuns } from '../runs/list.ts';
import { readStatus } from '../runs/read-status.ts';
import type { RunReport } from '../runs/report.ts';
import { renderStatus } from '../runs/render-status.ts';
import { withRun } from '../runs/with-run.ts';
import { withSession } from '../session.ts';
import { RUN_GROUP } from './run-group.ts';

/** Adds the commands. */
export function addRunCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'run', RUN_GROUP);
  addLeaf(group, context, {
    name: 'list',
    summary: 'List the runs that the server knows, latest first.',
    options: [countOption('--limit <n>', 'at most so many (default 50)')],
    examples: ['tileloom run list', 'tileloom run list -o jsonl'],
    run: ({ io, output }, _args, options) =>
      withSession(io, {}, async (session) => {
        const runs = await listRuns(session, numberOf(options, 'limit') ?? 50);
        const names = {
          schema: 'tileloom.cli.run-list/1',
          itemSchema: 'tileloom.cli.run-list-item/1',
          key: 'runs',
        };
        output.list(names, runs, () =>
          formatTable(
            ['run', 'pipeline', 'state', 'started', 'sink'],
            runs.map((run) => [
              run.runId,
              run.name ?? '-',
              run.state,
              formatTime(run.startedAt),
              run.sink ?? '-',
            ]),
          ),
        );
        return undefined;
      }),
  });
  addLeaf(group, context, {
    name: 'status',
    summary: 'Show how far a run is, what it does, and what it waits for.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run status RUN', 'tileloom run status RUN -o json'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const report = await readStatus(session, runId);
        output.document(STATUS_SCHEMA, report, () => renderStatus(report));
        return undefined;
      }),
  });
  addWatch(group, context);
  addWait(group, context);
}

function addWatch(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'watch',
    summary: 'Show progress, time left and the current plan until the run ends.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run watch RUN', 'tileloom run watch RUN -o jsonl > progress.jsonl'],
    run: (action, [runId = '']) =>
      withRun(action.io, runId, async (session) => {
        const read = (): Promise<RunReport> => readStatus(session, runId);
        const followed = await follow(action, runId, read, { quiet: undefined });
        return finishFollowing(action, runId, followed, true);
      }),
  });
}

function addWait(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'wait',
    summary: 'Wait silently until the run is as asked; the exit code tells how it came out.',
    args: [RUN_ARGUMENT],
    options: [
      new Option('--for <state>', 'what to wait for').choices([...GOALS]).default('finished'),
      durationOption('--timeout <duration>', 'give up after this long, with exit code 6'),
    ],
    examples: [
      'tileloom run wait RUN --timeout 2h && echo done',
      'tileloom run wait RUN --for drained --timeout 5m',
    ],
    run: (action, [runId = ''], options) =>
      withRun(action.io, runId, (session) =>
        followUntil(action, session, runId, {
          goal: goalOf(textOf(options, 'for')),
          timeoutMs: numberOf(options, 'timeout'),
        }),
      ),
  });
}
