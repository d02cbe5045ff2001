// Owns the command tree: which commands there are, in the order help shows them, and which files a
// command line needs.
//
// I1 a line that names a command loads that command's file alone: start-up is most of what a short
//    command costs. Everything else (help, completion, a name nobody knows) sees the whole tree.
import { Command } from 'commander';
import { addGroup, type ProgramContext } from './command.ts';
import { RUN_GROUP } from './commands/run-group.ts';
import { productVersion } from './version.ts';

const OVERVIEW = `Start here:
  $ tileloom demo                              see a whole run, nothing needed
  $ tileloom spec init > pipeline.yaml         write your own pipeline
  $ tileloom run start pipeline.yaml --with-worker --watch
`;

type AddCommands = (program: Command, context: ProgramContext) => void;

/** One file of commands. */
interface CommandFile {
  /** First word of its command lines. */
  readonly word: string;
  /** Second words, where several files share the first; absent: all of them. */
  readonly verbs?: readonly string[];
  readonly load: () => Promise<AddCommands>;
}

const COMMAND_FILES: readonly CommandFile[] = [
  { word: 'demo', load: async () => (await import('./commands/demo.ts')).addDemoCommand },
  { word: 'server', load: async () => (await import('./commands/server.ts')).addServerCommands },
  { word: 'worker', load: async () => (await import('./commands/worker.ts')).addWorkerCommands },
  { word: 'dataset', load: async () => (await import('./commands/dataset.ts')).addDatasetCommands },
  { word: 'spec', load: async () => (await import('./commands/spec.ts')).addSpecCommands },
  {
    word: 'run',
    verbs: ['start'],
    load: async () => (await import('./commands/run-start.ts')).addRunStart,
  },
  {
    word: 'run',
    verbs: ['list', 'status', 'watch', 'wait'],
    load: async () => (await import('./commands/run.ts')).addRunCommands,
  },
  {
    word: 'run',
    verbs: ['pause', 'resume', 'cancel', 'limits'],
    load: async () => (await import('./commands/run-control.ts')).addRunControl,
  },
  {
    word: 'run',
    verbs: ['retry', 'skip', 'errors'],
    load: async () => (await import('./commands/run-parked.ts')).addRunParked,
  },
  {
    word: 'run',
    verbs: ['audit'],
    load: async () => {
      const { addAudit } = await import('./commands/run-audit.ts');
      return (program, context) => {
        addAudit(addGroup(program, 'run', RUN_GROUP), context);
      };
    },
  },
  {
    word: 'run',
    verbs: ['clean'],
    load: async () => (await import('./commands/run-clean.ts')).addRunClean,
  },
  { word: 'pin', load: async () => (await import('./commands/pin.ts')).addPinCommands },
  { word: 'plan', load: async () => (await import('./commands/plan.ts')).addPlanCommands },
  { word: 'variant', load: async () => (await import('./commands/variant.ts')).addVariantCommands },
  { word: 'device', load: async () => (await import('./commands/device.ts')).addDeviceCommands },
  { word: 'doctor', load: async () => (await import('./commands/doctor.ts')).addDoctorCommand },
  {
    word: 'completion',
    load: async () => (await import('./commands/completion.ts')).addCompletionCommand,
  },
];

/**
 * Builds the program over an io; parsing a line runs the command's action.
 *
 * @param line the words that will be parsed: only what they need is loaded; absent: everything
 */
export async function createProgram(
  context: ProgramContext,
  line: readonly string[] = [],
): Promise<Command> {
  const program = new Command('tileloom')
    .description('Durable, adaptive execution of long tiled spatial pipelines.')
    .version(productVersion(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show how a command is used')
    .addHelpText('before', OVERVIEW);
  for (const add of await Promise.all(filesFor(line).map((file) => file.load()))) {
    add(program, context);
  }
  configureTree(program, context);
  return program;
}

/** The files of commands that a line can mean, in the order of help. */
function filesFor([word, verb]: readonly string[]): readonly CommandFile[] {
  if (word === '--version' || word === '-V') {
    return [];
  }
  const group = COMMAND_FILES.filter((file) => file.word === word);
  const exact = group.filter(({ verbs }) => verb !== undefined && verbs?.includes(verb) === true);
  if (exact.length > 0) {
    return exact;
  }
  return group.length > 0 && word !== 'completion' ? group : COMMAND_FILES;
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
