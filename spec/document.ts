// Owns the parsed YAML or JSON text: the plain value, syntax problems, and where each path lies.
//
// I1 every path that the value has resolves to a position; a path it lacks resolves to its
// parent's.
// I2 no input makes this module throw: what the parser cannot take becomes a syntax problem.
import {
  LineCounter,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml';
import type { SpecProblem, SpecProblemCode } from './errors.ts';

export type SpecPath = readonly (string | number)[];

/** Half-open range of characters in the text. */
interface TextRange {
  readonly start: number;
  readonly end: number;
}

export interface SpecDocument {
  readonly file: string;
  readonly text: string;
  /** The document as plain JSON, or undefined when it could not be built. */
  readonly value: unknown;
  readonly syntax: readonly SpecProblem[];
  readonly rangeOf: (path: SpecPath, what: 'key' | 'value') => TextRange;
  readonly positionOf: (offset: number) => { readonly line: number; readonly column: number };
}

/** Renders a path as people write it: `steps[0].assign.layer`. */
export function renderPath(path: SpecPath): string {
  return path
    .map((part, index) =>
      typeof part === 'number' ? `[${String(part)}]` : index === 0 ? part : `.${part}`,
    )
    .join('');
}

export interface ProblemFacts {
  readonly code: SpecProblemCode;
  readonly path: SpecPath;
  readonly message: string;
  readonly expected?: string | null;
  readonly got?: string | null;
  readonly suggestion?: string | null;
}

/** Makes a problem at a range of the text, with its excerpt. */
export function problemAt(
  document: Pick<SpecDocument, 'file' | 'text' | 'positionOf'>,
  range: TextRange,
  facts: ProblemFacts,
): SpecProblem {
  const { line, column } = document.positionOf(range.start);
  return {
    code: facts.code,
    path: renderPath(facts.path),
    file: document.file,
    line,
    column,
    message: facts.message,
    expected: facts.expected ?? null,
    got: facts.got ?? null,
    suggestion: facts.suggestion ?? null,
    excerpt: excerptOf(document.text, line, column, range.end - range.start),
  };
}

const EXCERPT_WIDTH = 92;

/** The source line, cut to a window around the column, and carets below it. */
function excerptOf(text: string, line: number, column: number, length: number): string {
  const source = text.split('\n')[line - 1]?.replace(/\r$/, '') ?? '';
  const from = column - 1 > EXCERPT_WIDTH - 20 ? column - 1 - Math.floor(EXCERPT_WIDTH / 2) : 0;
  const window = source.slice(from, from + EXCERPT_WIDTH);
  // Control characters would move the caret, or the terminal.
  // oxlint-disable-next-line no-control-regex
  const shown = window.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
  const before = column - 1 - from;
  const carets = Math.max(1, Math.min(length, shown.length - before));
  const number = String(line);
  const gutter = ' '.repeat(number.length);
  const prefix = from > 0 ? '…' : '';
  return [
    `${gutter} |`,
    `${number} | ${prefix}${shown}${from + EXCERPT_WIDTH < source.length ? '…' : ''}`.trimEnd(),
    `${gutter} | ${' '.repeat(prefix.length + before)}${'^'.repeat(carets)}`,
  ].join('\n');
}

/** Parses YAML 1.2 (of which JSON is a part) into a value with positions. */
export function readDocument(text: string, file: string): SpecDocument {
  const lineCounter = new LineCounter();
  const positionOf = (offset: number): { line: number; column: number } => {
    const { line, col } = lineCounter.linePos(Math.max(0, Math.min(offset, text.length)));
    return line === 0 ? { line: 1, column: 1 } : { line, column: col };
  };
  const base = { file, text, positionOf };
  const whole = { start: 0, end: 1 };
  const fail = (message: string, range: TextRange = whole): SpecDocument => ({
    ...base,
    value: undefined,
    syntax: [problemAt(base, range, { code: 'SPEC_SYNTAX', path: [], message })],
    rangeOf: () => whole,
  });
  let parsed: Document;
  let value: unknown;
  try {
    parsed = parseDocument(text, {
      lineCounter,
      prettyErrors: false,
      stringKeys: true,
      logLevel: 'error',
    });
    const dangling = danglingAlias(parsed);
    if (dangling !== null) {
      return fail(
        `alias *${dangling.source} names no anchor; define &${dangling.source} before it`,
        {
          start: dangling.range?.[0] ?? 0,
          end: dangling.range?.[1] ?? 1,
        },
      );
    }
    value = parsed.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const message = error instanceof RangeError ? 'nested too deeply' : (error as Error).message;
    return fail(`the document cannot be read: ${oneLine(message)}`);
  }
  const syntax = [...parsed.errors, ...parsed.warnings].map((issue) =>
    problemAt(
      base,
      { start: issue.pos[0], end: issue.pos[1] },
      {
        code: issue.code === 'DUPLICATE_KEY' ? 'SPEC_DUPLICATE_KEY' : 'SPEC_SYNTAX',
        path: [],
        message:
          issue.code === 'DUPLICATE_KEY'
            ? 'the same key appears twice in one mapping; remove one of them'
            : `not valid YAML or JSON: ${oneLine(issue.message)}`,
      },
    ),
  );
  return { ...base, value, syntax, rangeOf: (path, what) => rangeIn(parsed, path, what) };
}

function oneLine(message: string): string {
  return message.replace(/\s+/g, ' ').trim();
}

/** The first alias whose anchor does not exist, or null. */
function danglingAlias(
  document: Document,
): { source: string; range?: readonly number[] | null } | null {
  let found: { source: string; range?: readonly number[] | null } | null = null;
  visit(document, {
    Alias: (_key, node) => {
      if (node.resolve(document) === undefined) {
        found = node;
        return visit.BREAK;
      }
      return undefined;
    },
  });
  return found;
}

/** Range of the deepest node on the path that exists: its value, or the key that leads to it. */
function rangeIn(document: Document, path: SpecPath, what: 'key' | 'value'): TextRange {
  let node: Node | null = document.contents;
  let key: Node | null = null;
  for (const part of path) {
    const container: unknown = isAlias(node) ? node.resolve(document) : node;
    if (isMap(container)) {
      const pair = container.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part),
      );
      if (pair === undefined || !isNode(pair.key)) {
        break;
      }
      key = pair.key;
      node = isNode(pair.value) ? pair.value : null;
    } else if (isSeq(container) && typeof part === 'number') {
      const item = container.items[part];
      if (!isNode(item)) {
        break;
      }
      key = item;
      node = item;
    } else {
      break;
    }
  }
  const chosen = what === 'key' || isEmptyNode(node) ? (key ?? node) : node;
  const range = chosen?.range;
  return range === undefined || range === null
    ? { start: 0, end: 1 }
    : { start: range[0], end: Math.max(range[1], range[0] + 1) };
}

function isEmptyNode(node: Node | null): boolean {
  return node === null || (isScalar(node) && node.value === null && node.source === '');
}
