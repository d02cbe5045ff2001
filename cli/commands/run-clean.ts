// Owns `tileloom run clean`: leftovers of a closed run.
import type { Command } from 'commander';
import { cleanSink } from '../../datasets/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { formatBytes, formatCount } from '../format.ts';
import { RUN_ARGUMENT } from '../operator/command.ts';
import { keptFiles } from '../runs/kept-files.ts';
import { readStatus } from '../runs/read-status.ts';
import { withRun } from '../runs/with-run.ts';
import { RUN_GROUP } from './run-group.ts';

/** Adds the command. */
export function addRunClean(program: Command, context: ProgramContext): void {
  addClean(addGroup(program, 'run', RUN_GROUP), context);
}

function addClean(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'clean',
    summary: "Remove leftovers from a closed run's sink; what its manifest or ledger names stays.",
    args: [RUN_ARGUMENT],
    examples: ['tileloom run clean RUN'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const report = await readStatus(session, runId);
        if (report.open) {
          throw new CliError(
            'CLI_RUN_OPEN',
            `run ${runId} cannot be cleaned: expected a closed run, got phase ${report.phase}; ` +
              `wait for it, or cancel it: tileloom run cancel ${runId}`,
            { details: { runId, phase: report.phase } },
          );
        }
        if (report.sink === null) {
          throw new CliError(
            'CLI_RUN_UNKNOWN',
            `run ${runId} has no known sink: expected one from the server or this machine, got none; ` +
              'run the command where the run was started',
            { details: { runId } },
          );
        }
        // A retry that did not publish has files of its own beside those of the publication before.
        const published = report.phase === 'finished' || report.phase === 'partial';
        const keep = published ? [] : await keptFiles(session.client, runId, report.sink);
        const result = await cleanSink(report.sink, { keep });
        output.document(
          'tileloom.cli.run-clean/1',
          { runId, sink: report.sink, ...result },
          () =>
            `${formatCount(result.removed.length)} files removed, ${formatBytes(result.bytes)} freed`,
        );
        return undefined;
      }),
  });
}
