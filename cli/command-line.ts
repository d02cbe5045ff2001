// Owns the way from a command line to an exit code.
import { CommanderError } from 'commander';
import { EXIT, exitCodeOf } from './exit.ts';
import { explainSystemError } from './errors.ts';
import type { CommandIo } from './io.ts';
import type { OutputFormat } from './output.ts';
import { createProgram } from './program.ts';
import { renderError } from './render-error.ts';

/** Runs one command line (without node and script) and returns the exit code; it never throws. */
export async function runCommandLine(argv: readonly string[], io: CommandIo): Promise<number> {
  const exit = { code: 0 };
  try {
    const program = await createProgram({ io, exit }, argv);
    await program.parseAsync([...argv], { from: 'user' });
    return exit.code;
  } catch (thrown) {
    if (isHelp(thrown)) {
      return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
    }
    const error = explainSystemError(thrown);
    const verbose = argv.includes('--verbose');
    const rendered = await renderError(error, { format: askedFormat(argv), verbose });
    io.stderr(`${rendered}\n`);
    return exitCodeOf(error);
  }
}

/** Help and version throw, too; they have already written what they had to say. */
function isHelp(error: unknown): error is CommanderError {
  return (
    error instanceof CommanderError &&
    ['commander.help', 'commander.helpDisplayed', 'commander.version'].includes(error.code)
  );
}

/** The output format of a line that may not even parse. */
function askedFormat(argv: readonly string[]): OutputFormat {
  const at = argv.findIndex((word) => word === '-o' || word === '--output');
  const word = at >= 0 ? argv[at + 1] : argv.find((one) => one.startsWith('--output='))?.slice(9);
  return word === 'json' || word === 'jsonl' ? word : 'text';
}
