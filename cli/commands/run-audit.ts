// Owns `tileloom run audit`: who changed a run, when, how and why.
import type { Command } from 'commander';
import { readAudit, runEvents, sealedAudit, serviceHistory } from '../../history/index.ts';
import type { AuditEntry } from '../../operator/index.ts';
import { addLeaf, type ProgramContext } from '../command.ts';
import { RUN_ARGUMENT } from '../operator/command.ts';
import { identify } from '../operator/identify.ts';
import { servicePort } from '../operator/port.ts';
import { recallRun } from '../runs/local-runs.ts';
import { joinAudit, renderAudit } from '../runs/render-audit.ts';
import { withRun } from '../runs/with-run.ts';
import type { Session } from '../session.ts';

/** Adds the command. */
export function addAudit(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'audit',
    summary: 'List every change that operators made to a run: who, when, what and why.',
    args: [RUN_ARGUMENT],
    examples: ['tileloom run audit RUN', 'tileloom run audit RUN -o jsonl > audit.jsonl'],
    run: ({ io, output }, [runId = '']) =>
      withRun(io, runId, async (session) => {
        const entries = await auditEntries(session, runId, output.note);
        const names = {
          schema: 'tileloom.cli.run-audit/1',
          itemSchema: 'tileloom.audit-entry/1',
          key: 'entries',
        };
        output.list(names, entries, () => renderAudit(entries));
        return undefined;
      }),
  });
}

/**
 * The entries of a run, from its histories; from its sink what those no longer hold.
 *
 * @param note hears when the sink stands in
 * @throws {CliError} `CLI_RUN_UNKNOWN`, `CLI_RUN_FORGOTTEN`, `CLI_RUN_FOREIGN`, `CLI_RUN_NEWER`
 */
async function auditEntries(
  session: Session,
  runId: string,
  note: (message: string) => void,
): Promise<readonly AuditEntry[]> {
  const [execution, local] = await Promise.all([
    servicePort(session.client, runId).read(),
    recallRun(session.runsFolder, runId),
  ]);
  if (execution === null && local !== null) {
    const sealed = await sealedAudit(local.sink);
    if (sealed !== null) {
      note(`the server has forgotten run ${runId}; this is what it published in ${local.sink}`);
      return joinAudit(null, sealed);
    }
  }
  const { input } = identify(runId, execution, local);
  const live = await readAudit(runEvents(serviceHistory(session.client), runId));
  if (live.whole) return live.entries;
  const sink = local?.sink ?? input.spec.sink.path;
  const sealed = await sealedAudit(sink);
  note(
    `the server has forgotten the first part of run ${runId}; ` +
      (sealed === null ? 'older changes are not known' : `older changes are read from ${sink}`),
  );
  return joinAudit(live, sealed);
}
