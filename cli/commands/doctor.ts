// Owns `tileloom doctor`: every check with its status, and what to do about it.
import type { Command } from 'commander';
import { addLeaf, type ProgramContext } from '../command.ts';
import { runChecks } from '../doctor/checks.ts';
import type { Finding } from '../doctor/finding.ts';
import { EXIT } from '../exit.ts';
import type { Style } from '../format.ts';

/** Adds the command. */
export function addDoctorCommand(program: Command, context: ProgramContext): void {
  addLeaf(program, context, {
    name: 'doctor',
    summary: 'Check this machine: versions, compiler, server, disk, memory, devices.',
    examples: ['tileloom doctor', 'tileloom doctor -o json'],
    run: async ({ io, output }) => {
      const findings = await runChecks(io);
      const healthy = findings.every((finding) => finding.status !== 'failed');
      output.document('tileloom.cli.doctor/1', { healthy, findings }, (style) =>
        renderFindings(findings, style),
      );
      return healthy ? EXIT.ok : EXIT.unexpected;
    },
  });
}

function renderFindings(findings: readonly Finding[], style: Style): string {
  const marks = {
    ok: style.green('ok     '),
    warning: style.yellow('warning'),
    failed: style.red('failed '),
  };
  const width = Math.max(...findings.map((finding) => finding.check.length));
  return findings
    .map((finding) => {
      const fix = finding.fix === null ? '' : `\n${' '.repeat(width + 11)}${finding.fix}`;
      return `${marks[finding.status]}  ${finding.check.padEnd(width)}  ${finding.found}${fix}`;
    })
    .join('\n');
}
