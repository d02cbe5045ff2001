// Owns `tileloom server`: the embedded Temporal server.
import type { Command } from 'commander';
import { homePaths, serverStatus, startServer, stopServer } from '../../server/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { EXIT } from '../exit.ts';
import { formatFacts, formatTime } from '../format.ts';

/** Adds the group. */
export function addServerCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'server', 'Run the embedded Temporal server.');
  addLeaf(group, context, {
    name: 'start',
    summary: 'Start the embedded server, obtaining its binary first if need be.',
    examples: ['tileloom server start'],
    run: async ({ io, output }) => {
      const paths = homePaths(io.env);
      const report = ({ message }: { message: string }): void => {
        output.note(message);
      };
      const server = await startServer({ report, paths });
      output.document('tileloom.cli.server-start/1', server, () =>
        formatFacts([
          ['address', server.address],
          ['UI', `http://127.0.0.1:${String(server.uiPort)}`],
          ['process', String(server.pid)],
          ['database', server.database],
        ]),
      );
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'stop',
    summary: 'Stop the embedded server; runs go on when it is started again.',
    examples: ['tileloom server stop'],
    run: async ({ io, output }) => {
      const report = ({ message }: { message: string }): void => {
        output.note(message);
      };
      const pid = await stopServer({ report, paths: homePaths(io.env) });
      output.document('tileloom.cli.server-stop/1', { stopped: pid !== null, pid }, () =>
        pid === null ? 'the server was not running' : `stopped (process ${String(pid)})`,
      );
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'status',
    summary: 'Show whether the embedded server is there; exit code 4 when it does not serve.',
    examples: ['tileloom server status -o json'],
    run: async ({ io, output }) => {
      const status = await serverStatus(homePaths(io.env));
      output.document('tileloom.cli.server-status/1', status, () =>
        formatFacts([
          ['state', status.state],
          ['address', status.address],
          ['UI', status.uiAddress],
          ['process', status.pid === null ? '-' : String(status.pid)],
          ['started', formatTime(status.startedAt)],
          ['binary', status.binary ?? '-'],
          ['database', status.database],
          ['log', status.log],
        ]),
      );
      return status.state === 'serving' ? EXIT.ok : EXIT.unreachable;
    },
  });
}
