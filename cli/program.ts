// Owns the command tree: which groups there are, in the order help shows them.
import { Command } from 'commander';
import type { ProgramContext } from './command.ts';
import { addCompletionCommand } from './commands/completion.ts';
import { addDatasetCommands } from './commands/dataset.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDeviceCommands } from './commands/device.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addPlanCommands } from './commands/plan.ts';
import { addRunCommands } from './commands/run.ts';
import { addServerCommands } from './commands/server.ts';
import { addSpecCommands } from './commands/spec.ts';
import { addVariantCommands } from './commands/variant.ts';
import { addWorkerCommands } from './commands/worker.ts';
import { productVersion } from './version.ts';

const OVERVIEW = `Start here:
  $ tileloom demo                              see a whole run, nothing needed
  $ tileloom spec init > pipeline.yaml         write your own pipeline
  $ tileloom run start pipeline.yaml --with-worker --watch
`;

/** Builds the program over an io; parsing a line runs the command's action. */
export function createProgram(context: ProgramContext): Command {
  const program = new Command('tileloom')
    .description('Durable, adaptive execution of long tiled spatial pipelines.')
    .version(productVersion(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show how a command is used')
    .addHelpText('before', OVERVIEW);
  addDemoCommand(program, context);
  addServerCommands(program, context);
  addWorkerCommands(program, context);
  addDatasetCommands(program, context);
  addSpecCommands(program, context);
  addRunCommands(program, context);
  addPlanCommands(program, context);
  addVariantCommands(program, context);
  addDeviceCommands(program, context);
  addDoctorCommand(program, context);
  addCompletionCommand(program, context);
  configureTree(program, context);
  return program;
}

/** Commander inherits settings only into commands made later, so every node is set by hand. */
function configureTree(command: Command, context: ProgramContext): void {
  command
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        context.io.stdout(text);
      },
      writeErr: (text) => {
        context.io.stderr(text);
      },
      // Errors are rendered once, by main, in the format that was asked for.
      outputError: () => undefined,
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    })
    .showSuggestionAfterError(true);
  for (const child of command.commands) {
    configureTree(child, context);
  }
}
