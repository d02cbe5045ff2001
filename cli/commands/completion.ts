// Owns `tileloom completion`: scripts for bash, zsh and fish, generated from the command tree.
import type { Command } from 'commander';
import { addLeaf, leavesOf, pathOf, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';

const SHELLS = ['bash', 'zsh', 'fish'];

/** Adds the command. */
export function addCompletionCommand(program: Command, context: ProgramContext): void {
  addLeaf(program, context, {
    name: 'completion',
    summary: 'Print a completion script for a shell.',
    args: [['<shell>', `one of ${SHELLS.join(', ')}`]],
    examples: [
      'tileloom completion bash > ~/.local/share/bash-completion/completions/tileloom',
      'tileloom completion zsh > ~/.zfunc/_tileloom',
      'tileloom completion fish > ~/.config/fish/completions/tileloom.fish',
    ],
    run: ({ output }, [shell]) => {
      const script = completionScript(program, shell ?? '');
      output.document('tileloom.cli.completion/1', { shell, script }, () => script.trimEnd());
      return undefined;
    },
  });
}

/** Words that may follow each prefix of the tree, the prefix without `tileloom`. */
function wordsByPrefix(program: Command): Map<string, string[]> {
  const words = new Map<string, string[]>();
  const visit = (command: Command): void => {
    const prefix = pathOf(command).split(' ').slice(1).join(' ');
    const options = command.options.map((option) => option.long).filter((long) => long !== null);
    const names = command.commands.map((child) => child.name());
    const shells = prefix === 'completion' ? SHELLS : [];
    words.set(prefix, [
      ...[...names, ...shells, ...options.filter((long) => long !== undefined)],
      '--help',
    ]);
    command.commands.forEach((child) => {
      visit(child);
    });
  };
  visit(program);
  return words;
}

/**
 * Generates the completion script of a shell.
 *
 * @throws {CliError} `CLI_USAGE` for a shell it does not know
 */
export function completionScript(program: Command, shell: string): string {
  switch (shell) {
    case 'bash':
      return bashScript(program);
    case 'zsh':
      return `#compdef tileloom\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(program)}`;
    case 'fish':
      return fishScript(program);
    default:
      throw new CliError(
        'CLI_USAGE',
        `shell ${shell} is not supported: expected one of ${SHELLS.join(', ')}, got ${shell}; ` +
          'choose one of them',
      );
  }
}

function bashScript(program: Command): string {
  const leaves = new Set(
    leavesOf(program).map((leaf) => pathOf(leaf).split(' ').slice(1).join(' ')),
  );
  const cases = [...wordsByPrefix(program)]
    .map(([prefix, words]) => {
      // Where a command or a shell is expected, names of files would only be in the way.
      const files = leaves.has(prefix) && prefix !== 'completion' ? '' : ' files=0';
      return `    '${prefix}') words='${words.join(' ')}'${files} ;;`;
    })
    .join('\n');
  return `_tileloom() {
  local current="\${COMP_WORDS[COMP_CWORD]}" prefix='' words='' files=1 index word
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "$word" in -*) break ;; esac
    ((index > 2)) && break
    prefix="\${prefix:+$prefix }$word"
  done
  case "$prefix" in
${cases}
    *) case "\${prefix%% *}" in
${singleWordCases(program)}
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$files$current" in 0*|1-*) ;; *) COMPREPLY+=($(compgen -f -- "$current")) ;; esac
}
complete -o filenames -F _tileloom tileloom
`;
}

/** Commands without a verb, whose second word is already an argument. */
function singleWordCases(program: Command): string {
  const words = wordsByPrefix(program);
  return leavesOf(program)
    .filter((leaf) => leaf.parent === program)
    .map((leaf) => `      ${leaf.name()}) words='${(words.get(leaf.name()) ?? []).join(' ')}' ;;`)
    .join('\n');
}

function fishScript(program: Command): string {
  const lines: string[] = [];
  const quote = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;
  for (const group of program.commands) {
    lines.push(
      `complete -c tileloom -n __fish_use_subcommand -a ${group.name()} -d ${quote(group.description())}`,
    );
    const verbs = group.commands.map((verb) => verb.name());
    for (const verb of group.commands) {
      lines.push(
        `complete -c tileloom -n '__fish_seen_subcommand_from ${group.name()}; and not ` +
          `__fish_seen_subcommand_from ${verbs.join(' ')}' -a ${verb.name()} -d ${quote(verb.description())}`,
      );
    }
    for (const leaf of leavesOf(group)) {
      for (const option of leaf.options) {
        const seen = pathOf(leaf).split(' ').slice(1);
        const condition = seen.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
        const long = (option.long ?? '').replace(/^--/, '');
        lines.push(
          `complete -c tileloom -n '${condition}' -l ${long} -d ${quote(option.description)}`,
        );
      }
    }
  }
  return `${lines.join('\n')}\n`;
}
