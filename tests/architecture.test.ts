// The house, as data: which room may import which, how long files and functions may be, which words
// may not appear. To allow a new edge, add it here and say why in the commit.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  ROOT,
  blanked,
  cppFunctions,
  importsOf,
  resolveImport,
  sourceFiles,
  topFolders,
  type SourceFile,
} from './architecture/source-files.ts';

interface Room {
  /** Rooms whose values and types it may import. */
  readonly values: readonly string[];
  /** Rooms of which it may import types only. */
  readonly types?: readonly string[];
  readonly pure?: boolean;
}

const BELOW_ACTIVITIES = [
  'core',
  'registry',
  'telemetry',
  'telemetry/probes',
  'planner',
  'operator',
  'spec',
  'native',
  'datasets',
  'executor',
  'history',
  'workflows',
] as const;

const ROOMS: Readonly<Record<string, Room>> = {
  core: { values: [], pure: true },
  registry: { values: ['core'], pure: true },
  telemetry: { values: ['core'], pure: true },
  'telemetry/probes': { values: ['telemetry', 'core'] },
  planner: { values: ['registry', 'telemetry', 'core'], pure: true },
  // What operators may ask of a run: workflows apply it, the audit reads it back from history.
  operator: { values: ['core'], types: ['planner'], pure: true },
  spec: { values: ['registry', 'core'], types: ['planner'], pure: true },
  native: { values: ['registry', 'core'] },
  datasets: { values: ['native', 'registry', 'core'], types: ['spec'] },
  executor: { values: ['datasets', 'native', 'registry', 'core'] },
  // Reads plan records and the audit out of workflow histories, exports and sealed files.
  history: {
    values: ['operator', 'planner', 'registry', 'datasets', 'core'],
    types: ['workflows'],
  },
  workflows: {
    values: ['operator', 'telemetry', 'core'],
    types: ['planner', 'registry', 'spec'],
    pure: true,
  },
  activities: { values: BELOW_ACTIVITIES },
  server: { values: ['core'] },
  worker: { values: [...BELOW_ACTIVITIES, 'activities', 'server'] },
  cli: { values: [...BELOW_ACTIVITIES, 'activities', 'server', 'worker'] },
};

/** Folders with code that is no part of the product's rooms: they may import anything. */
const OUTSIDE = new Set(['tests', 'bench', 'scripts', 'docs', 'examples']);

/** Files of a room, besides its index, that others may import. */
const DOORS = new Set(['workflows/messages.ts', 'workflows/activity-contract.ts']);

/** Packages that only some places may import. */
const FENCED: readonly { readonly name: RegExp; readonly allowed: RegExp }[] = [
  { name: /^koffi$/u, allowed: /^(?:native\/binding|telemetry\/probes\/nvml-library)\.ts$/u },
  { name: /^@temporalio\/workflow$/u, allowed: /^workflows\// },
  { name: /^@temporalio\/(?:worker|core-bridge)$/u, allowed: /^(?:worker|server)\// },
  { name: /^@temporalio\/activity$/u, allowed: /^(?:activities|worker)\// },
  { name: /^apache-arrow$/u, allowed: /^(?:datasets|executor|cli)\// },
];

const TYPESCRIPT = /\.ts$/u;
const NATIVE = /\.(?:cpp|hpp|h|cu|cuh)$/u;

function roomOf(path: string): string {
  return path.startsWith('telemetry/probes/') ? 'telemetry/probes' : (path.split('/')[0] ?? '');
}

const FOLDERS = topFolders().filter((name) => Object.hasOwn(ROOMS, name));
const ROOM_FILES = FOLDERS.flatMap((name) => sourceFiles(name, TYPESCRIPT));
const NATIVE_FILES = sourceFiles('native', NATIVE);
const TEST_FILES = sourceFiles('tests', TYPESCRIPT);

interface Edge {
  readonly from: SourceFile;
  readonly to: string;
  readonly typeOnly: boolean;
}

const EDGES: readonly Edge[] = ROOM_FILES.flatMap((from) =>
  importsOf(from).flatMap(({ specifier, typeOnly }) => {
    const to = resolveImport(from, specifier);
    return to === null || roomOf(to) === roomOf(from.path) ? [] : [{ from, to, typeOnly }];
  }),
);

describe('rooms', () => {
  test('every folder with code at the top is a known room', () => {
    const unknown = topFolders().filter(
      (name) =>
        !Object.hasOwn(ROOMS, name) &&
        !OUTSIDE.has(name) &&
        sourceFiles(name, /\.(?:ts|mjs|js|cpp|hpp)$/u).length > 0,
    );
    expect(unknown).toEqual([]);
  });

  test('a room imports only the rooms it may', () => {
    const wrong = EDGES.filter(({ from, to, typeOnly }) => {
      const room = ROOMS[roomOf(from.path)];
      const target = roomOf(to);
      const allowed =
        room?.values.includes(target) === true ||
        (typeOnly && room?.types?.includes(target) === true);
      return !allowed;
    });
    expect(wrong.map(({ from, to }) => `${from.path} → ${to}`)).toEqual([]);
  });

  test('rooms meet only at index.ts and the declared doors', () => {
    const wrong = EDGES.filter(({ to }) => to !== `${roomOf(to)}/index.ts` && !DOORS.has(to));
    expect(wrong.map(({ from, to }) => `${from.path} → ${to}`)).toEqual([]);
  });

  test('of workflows, activities import only the contract and the messages', () => {
    const wrong = EDGES.filter(
      ({ from, to }) => roomOf(from.path) === 'activities' && roomOf(to) === 'workflows',
    ).filter(({ to }) => !DOORS.has(to));
    expect(wrong.map(({ from, to }) => `${from.path} → ${to}`)).toEqual([]);
  });

  test('the table of rooms has no cycle of values', () => {
    const visit = (name: string, path: readonly string[]): readonly string[] =>
      path.includes(name)
        ? [[...path, name].join(' → ')]
        : (ROOMS[name]?.values ?? []).flatMap((next) => visit(next, [...path, name]));
    expect(Object.keys(ROOMS).flatMap((name) => visit(name, []))).toEqual([]);
  });

  test('fenced packages are imported only where they belong', () => {
    const wrong = ROOM_FILES.flatMap((file) =>
      importsOf(file)
        .filter(({ specifier }) =>
          FENCED.some(({ name, allowed }) => name.test(specifier) && !allowed.test(file.path)),
        )
        .map(({ specifier }) => `${file.path} → ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });

  test('pure rooms import no module of Node', () => {
    const wrong = ROOM_FILES.filter((file) => ROOMS[roomOf(file.path)]?.pure === true).flatMap(
      (file) =>
        importsOf(file)
          .filter(({ specifier }) => specifier.startsWith('node:'))
          .map(({ specifier }) => `${file.path} → ${specifier}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe('size', () => {
  const longerThan = (files: readonly SourceFile[], limit: number): readonly string[] =>
    files
      .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
      .filter(({ lines }) => lines > limit)
      .map(({ path, lines }) => `${path}: ${String(lines)} lines`);

  test('a file has at most 400 lines, a test 500', () => {
    expect(longerThan([...ROOM_FILES, ...NATIVE_FILES], 400)).toEqual([]);
    expect(longerThan(TEST_FILES, 500)).toEqual([]);
  });

  test('a C++ function has at most 70 lines', () => {
    const long = NATIVE_FILES.flatMap((file) =>
      cppFunctions(file)
        .filter(({ lines }) => lines > 70)
        .map(({ name, line, lines }) => `${file.path}:${String(line)} ${name}: ${String(lines)}`),
    );
    expect(long).toEqual([]);
  });

  test('a TypeScript function has at most 70 lines', () => {
    const oxlint = join(ROOT, 'node_modules/.bin/oxlint');
    const rule = ['-c', '.oxlintrc.json', '-f', 'unix', ...FOLDERS];
    let report: string;
    try {
      report = execFileSync(oxlint, rule, { cwd: ROOT, encoding: 'utf8' });
    } catch (failure) {
      report = String((failure as { stdout?: unknown }).stdout);
    }
    expect(report.split('\n').filter((line) => line.includes('max-lines'))).toEqual([]);
  });

  // Prettier holds code to 100 columns; comments and texts it cannot break get some room.
  test('a line has at most 120 columns, long texts and links apart', () => {
    const wide = [...ROOM_FILES, ...NATIVE_FILES].flatMap(({ path, text }) =>
      text
        .split('\n')
        .map((line, index) => ({ line, at: `${path}:${String(index + 1)}` }))
        .filter(({ line }) => line.length > 120 && !/['"`]|https?:/u.test(line))
        .map(({ at }) => at),
    );
    expect(wide).toEqual([]);
  });
});

interface BannedWord {
  readonly word: RegExp;
  readonly instead: string;
  readonly where: (path: string) => boolean;
  /** Comments are searched too. */
  readonly comments: boolean;
}

const everywhere = (): boolean => true;
const inPureRooms = (path: string): boolean => ROOMS[roomOf(path)]?.pure === true;
/** Workflow code gets a replayed Date from the sandbox; other pure rooms have no time. */
const inTimelessRooms = (path: string): boolean =>
  inPureRooms(path) && roomOf(path) !== 'workflows';

const BANNED: readonly BannedWord[] = [
  {
    word: /\b(?:TODO|FIXME|XXX|HACK)\b/u,
    instead: 'an issue, or do it',
    where: everywhere,
    comments: true,
  },
  {
    word: /not implemented|placeholder/iu,
    instead: 'leave it out',
    where: everywhere,
    comments: true,
  },
  {
    word: /\bconsole\./u,
    instead: 'the logger',
    where: (path) => roomOf(path) !== 'cli',
    comments: false,
  },
  { word: /\bMath\.random\b/u, instead: 'an argument', where: inPureRooms, comments: false },
  {
    word: /\bDate\.now\b|\bnew Date\(\)/u,
    instead: 'an argument',
    where: inTimelessRooms,
    comments: false,
  },
  { word: /^export default\b/mu, instead: 'a named export', where: everywhere, comments: false },
  { word: /^export \*/mu, instead: 'explicit names', where: everywhere, comments: false },
  {
    word: /(?:^|[\s'"`(])\/(?:work|home|root|Users|tmp)\/\w/mu,
    instead: 'an argument',
    where: everywhere,
    comments: true,
  },
];

describe('words', () => {
  test.each(BANNED)('$word is not written: $instead', ({ word, where, comments }) => {
    const found = [...ROOM_FILES, ...NATIVE_FILES]
      .filter(({ path }) => where(path))
      .filter(({ text }) => word.test(comments ? text : blanked(text, { strings: true })))
      .map(({ path }) => path);
    expect(found).toEqual([]);
  });
});

describe('scanners', () => {
  const file = (text: string): SourceFile => ({ path: 'core/x.ts', text });

  test('find every form of import and nothing in comments', () => {
    const text = [
      "import { a } from './a.ts';",
      "import type { B } from './b.ts';",
      "export { c } from './c.ts';",
      "import './d.ts';",
      "const e = await import('./e.ts');",
      "// import { f } from './f.ts';",
      'import {\n  g,\n  type H,\n} from "./g.ts";',
    ].join('\n');
    expect(importsOf(file(text)).map(({ specifier }) => specifier)).toEqual(
      expect.arrayContaining(['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './g.ts']),
    );
    expect(importsOf(file(text))).toHaveLength(6);
    expect(importsOf(file(text))[1]).toEqual({ specifier: './b.ts', typeOnly: true });
  });

  test('measure a C++ function past braces in strings and comments', () => {
    const body =
      'int f(int a) {\n  // }\n  const char* s = "}";\n  if (a) {\n  }\n  return a;\n}\n';
    expect(cppFunctions(file(body))).toEqual([{ name: 'f', line: 1, lines: 7 }]);
  });
});
