// Owns how a command is declared: its place in the tree, options every command has, examples first
// in its help, and the one wrapper around every action.
import { Option, type Command } from 'commander';
import type { CommandIo } from './io.ts';
import { OUTPUT_FORMATS, createOutput, type Output, type OutputFormat } from './output.ts';

/** What actions get beside their arguments and options. */
export interface ActionContext {
  readonly io: CommandIo;
  readonly output: Output;
  readonly verbose: boolean;
}

/** Shared by the commands of one program. */
export interface ProgramContext {
  readonly io: CommandIo;
  /** Where an action puts the exit code of the process; 0 when it does not. */
  readonly exit: { code: number };
  /** When set, actions are not run; tests use it to see that a line parses. */
  readonly onAction?: (commandPath: string) => void;
}

/** Reads one option of a command, whatever its name. */
export type OptionValues = Readonly<Record<string, unknown>>;

export interface LeafDefinition {
  readonly name: string;
  readonly summary: string;
  /** Command lines without `$`, the commonest first. */
  readonly examples: readonly string[];
  /** Arguments as Commander writes them (`<spec>`), with a description each. */
  readonly args?: readonly (readonly [string, string])[];
  /** Options as Commander writes them, with a description each. */
  readonly options?: readonly (Option | readonly [string, string])[];
  /** The action; a number is the exit code. */
  readonly run: (
    context: ActionContext,
    args: readonly string[],
    options: OptionValues,
  ) => Promise<number | undefined> | number | undefined;
}

/** Adds a group (a noun) to a program, or finds it there when another file added it before. */
export function addGroup(program: Command, name: string, summary: string): Command {
  const known = program.commands.find((command) => command.name() === name);
  if (known !== undefined) {
    return known;
  }
  return program.command(name).description(summary).helpCommand(false);
}

/** Adds a command (a verb) to a group or a program. */
export function addLeaf(parent: Command, context: ProgramContext, leaf: LeafDefinition): Command {
  const command = parent.command(leaf.name).description(leaf.summary);
  for (const [name, description] of leaf.args ?? []) {
    command.argument(name, description);
  }
  for (const option of leaf.options ?? []) {
    if (option instanceof Option) {
      command.addOption(option);
    } else {
      command.option(option[0], option[1]);
    }
  }
  command.addOption(
    new Option('-o, --output <format>', 'format of stdout')
      .choices([...OUTPUT_FORMATS])
      .default('text'),
  );
  command.option('--verbose', 'show stack traces and more messages');
  const lines = leaf.examples.map((example) => `  $ ${example}`);
  command.addHelpText('before', `Examples:\n${lines.join('\n')}\n`);
  command.action(async () => {
    if (context.onAction !== undefined) {
      context.onAction(pathOf(command));
      return;
    }
    const options: OptionValues = command.opts();
    const output = createOutput(context.io, options['output'] as OutputFormat);
    const verbose = options['verbose'] === true;
    const code = await leaf.run({ io: context.io, output, verbose }, command.args, options);
    context.exit.code = code ?? 0;
  });
  return command;
}

/** `tileloom run start`. */
export function pathOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? command.name() : `${pathOf(parent)} ${command.name()}`;
}

/** Every command that does something, in the order of the tree. */
export function leavesOf(command: Command): Command[] {
  return command.commands.length === 0
    ? [command]
    : command.commands.flatMap((child) => leavesOf(child));
}
