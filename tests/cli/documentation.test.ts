// The documents that this room owns, held against the parser, the schema and the errors of every room.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { leavesOf, pathOf } from '../../cli/command.ts';
import { createProgram } from '../../cli/program.ts';
import { completionScript } from '../../cli/commands/completion.ts';
import { parseSpec, specJsonSchema } from '../../spec/index.ts';
import { recordingIo } from './fake-io.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const sorted = (codes: ReadonlySet<string>): string[] =>
  [...codes].toSorted((left, right) => (left < right ? -1 : 1));

/** Where codes of errors stand in a source; reason codes of plans are docs/planner.md's. */
const CODE_PLACES = [
  /\bcode(?:: \w+)?(?: =|:) '([A-Z][A-Z0-9_]+)'/g,
  /\bcode \?\? '([A-Z][A-Z0-9_]+)'/g,
  /\bnew [A-Z]\w*Error\(\s*'([A-Z][A-Z0-9_]+)'/g,
  /\bplain\('[a-z-]+', '([A-Z][A-Z0-9_]+)'/g,
  /'((?:RUN|HOST|CLI|SPEC|DATASET|LAYER|SERVER|EXECUTOR|OPERATOR)_[A-Z0-9_]+)'/g,
  /`(NATIVE_[A-Z_]+): /g,
  /\bnew ExecutorError\(\s*'\w+',\s*'([A-Z][A-Z0-9_]+)'/g,
];

function codesIn(source: string): string[] {
  const unions = [...source.matchAll(/type (?!Re)\w*(?:Code|FailureType) =([^;]*);/g)]
    .flatMap(([, union = '']) => [...union.matchAll(/'([A-Z][A-Z0-9_]+)'/g)])
    .map(([, code = '']) => code);
  const inline = CODE_PLACES.flatMap((place) => [...source.matchAll(place)]);
  return [...unions, ...inline.map(([, code = '']) => code)];
}

const withoutComments = (source: string): string =>
  source.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '');

/** Parses a line without running it; the path of the command it would run. */
async function parsed(line: string): Promise<string> {
  let found = '';
  const program = await createProgram({
    io: recordingIo().io,
    exit: { code: 0 },
    onAction: (path) => {
      found = path;
    },
  });
  await program.parseAsync(line.split(' ').slice(1), { from: 'user' });
  return found;
}

/** Command lines of a text, without comments, redirections, pipes and what follows them. */
function commandLines(text: string): string[] {
  return [...text.matchAll(/^\s*(?:\$ )?(tileloom [^\n]*)$/gm)]
    .map((match) => (match[1] ?? '').split(/ +(?:#|>|\||&)|  /)[0]?.trim() ?? '')
    .filter((line) => line !== 'tileloom' && !line.includes('…'));
}

const program = await createProgram({ io: recordingIo().io, exit: { code: 0 } });
const leaves = leavesOf(program);

describe('docs/cli.md', () => {
  const text = read('docs/cli.md');

  test('has a section for each command, and no other', () => {
    const sections = [...text.matchAll(/^### `(tileloom [^`]*)`$/gm)].map((match) => match[1]);
    expect(sections).toEqual(leaves.map((leaf) => pathOf(leaf)));
  });

  test.each(leaves.map((leaf) => [pathOf(leaf), leaf] as const))(
    'names every option of %s',
    (path, leaf) => {
      const section = text.split(`### \`${path}\`\n`)[1]?.split('\n### ')[0] ?? '';
      const lacking = leaf.options
        .map((option) => option.flags)
        .filter((flags) => !['-o, --output <format>', '--verbose'].includes(flags))
        .filter((flags) => !section.includes(`\`${flags}\``));
      expect(lacking).toEqual([]);
      expect(section).toContain(leaf.description());
    },
  );

  test('shows only command lines that parse', async () => {
    const lines = commandLines(text);
    expect(lines.length).toBeGreaterThan(30);
    for (const line of lines) {
      expect(await parsed(line.replaceAll("'", '')), line).not.toBe('');
    }
  });
});

describe('other command lines', () => {
  test.each(['README.md', 'docs/operating.md', 'docs/spec.md', 'docs/errors.md'])(
    'of %s parse',
    async (file) => {
      for (const line of commandLines(read(file))) {
        expect(await parsed(line.replaceAll("'", '')), line).not.toBe('');
      }
    },
  );

  test('in the help of every command parse', async () => {
    for (const leaf of leaves) {
      let help = '';
      leaf.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      leaf.outputHelp();
      const lines = commandLines(help);
      expect(lines.length, pathOf(leaf)).toBeGreaterThan(0);
      for (const line of lines) {
        expect(await parsed(line.replaceAll("'", '')), line).not.toBe('');
      }
    }
  });
});

describe('docs/errors.md', () => {
  const documented = new Set(
    [...read('docs/errors.md').matchAll(/^\| `([A-Z][A-Z0-9_]+)`/gm)].map(
      (match) => match[1] ?? '',
    ),
  );

  test('explains every code in the sources, and no other', () => {
    const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter(
      (file) =>
        /\.(ts|mjs)$/.test(file) &&
        !/^(node_modules|dist|tests|bench|docs|examples|planner\/(?!errors))\b|\.d\.ts$/.test(file),
    );
    expect(files.length).toBeGreaterThan(150);
    const codes = new Set(files.flatMap((file) => codesIn(withoutComments(read(file)))));
    expect(sorted(documented)).toEqual(sorted(codes));
  });
});

describe('docs/spec.md', () => {
  const text = read('docs/spec.md');

  test('shows a spec that is valid', () => {
    const yaml = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
    expect(parseSpec(yaml, { file: 'docs/spec.md' }).warnings).toEqual([]);
  });

  test('names every key of the JSON Schema', () => {
    const keys = new Set<string>();
    const visit = (node: unknown): void => {
      if (typeof node === 'object' && node !== null) {
        const { properties } = node as { properties?: Record<string, unknown> };
        Object.keys(properties ?? {}).forEach((key) => keys.add(key));
        Object.values(node).forEach(visit);
      }
    };
    visit(specJsonSchema());
    expect([...keys].filter((key) => !new RegExp(`\\b${key}\\b`).test(text))).toEqual([]);
  });
});

describe('completionScript', () => {
  test.each(['bash', 'zsh', 'fish'])('of %s knows every command and option', (shell) => {
    const script = completionScript(program, shell);
    for (const leaf of leaves) {
      expect(script).toContain(leaf.name());
      for (const option of leaf.options) {
        expect(script).toContain((option.long ?? '').replace(/^--/, ''));
      }
    }
  });

  test.each([
    [['tileloom', 'ru'], 'run'],
    [['tileloom', 'run', 'st'], 'start status'],
    [['tileloom', 'run', 'start', '--w'], '--with-worker --watch'],
    [['tileloom', 'completion', ''], 'bash zsh fish --output --verbose --help'],
    [['tileloom', 'spec', 'validate', './READ'], './README.md'],
  ])('completes %j in a real bash', (words, completed) => {
    const script = `${completionScript(program, 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${String(words.length - 1)}
_tileloom
echo "\${COMPREPLY[*]}"`;
    const answer = execFileSync('bash', ['--norc', '-c', script], { cwd: ROOT, encoding: 'utf8' });
    expect(answer.trim()).toBe(completed);
  });
});
