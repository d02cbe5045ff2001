// Owns the translation of zod issues into problems: expected, got, and the nearest known word.
import type { z } from 'zod';
import { nearestName } from '../registry/index.ts';
import { problemAt, renderPath, type SpecDocument, type SpecPath } from './document.ts';
import type { SpecProblem } from './errors.ts';

type Issue = z.core.$ZodIssue;

/** Keys that may stand at a place, by the path with indexes and layer names left out. */
const KNOWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  '': ['apiVersion', 'kind', 'name', 'source', 'layers', 'steps', 'sink', 'plan', 'limits'],
  source: ['dataset', 'crs', 'wrap'],
  'layers.*': ['file', 'id', 'object', 'crs', 'antimeridian', 'pole'],
  'steps.*': ['assign', 'aggregate'],
  'steps.*.assign': ['layer', 'as', 'boundary', 'overlap'],
  'steps.*.aggregate': ['by', 'measures'],
  'steps.*.aggregate.measures.*': ['sum', 'mean', 'min', 'max'],
  sink: ['path', 'rows', 'format'],
  plan: ['mode', 'precision', 'policy', 'cadence', 'chunkSecondsTarget', 'pins'],
  'plan.pins.*': ['aspect', 'value', 'reason', 'ifImpossible'],
  limits: ['memory', 'failedTiles', 'lanes', 'shards'],
};

/** Turns every issue of one parse into problems; an issue about several keys becomes several. */
export function problemsOf(document: SpecDocument, issues: readonly Issue[]): SpecProblem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    return problemsOfIssue(document, issue, path);
  });
}

function problemsOfIssue(document: SpecDocument, issue: Issue, path: SpecPath): SpecProblem[] {
  const value = valueAt(document.value, path);
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(document, [...path, key]));
    case 'invalid_union':
      return unionProblems(document, issue, path, value);
    case 'invalid_key':
      return [
        problemAt(document, document.rangeOf(path, 'key'), {
          code: 'SPEC_BAD_VALUE',
          path,
          ...sentence(
            path,
            'is not a usable name',
            expectedOf(issue.issues[0]),
            quoted(path.at(-1)),
          ),
        }),
      ];
    case 'invalid_type':
      return [wrongType(document, path, value, typePhrase(issue.expected))];
    case 'invalid_value':
      return [badValue(document, path, value, issue.values.map(String))];
    case 'too_small':
    case 'too_big':
      return [outOfRange(document, path, value, expectedOf(issue) ?? 'another value')];
    default:
      return [
        problemAt(document, document.rangeOf(path, 'value'), {
          code: 'SPEC_BAD_VALUE',
          path,
          ...sentence(path, 'has a value that cannot be used', expectedOf(issue), quoted(value)),
        }),
      ];
  }
}

function unknownKey(document: SpecDocument, path: SpecPath): SpecProblem {
  const key = String(path.at(-1));
  const known = KNOWN_KEYS[placeOf(path.slice(0, -1))] ?? [];
  const suggestion = nearestName(key, known);
  const parent = renderPath(path.slice(0, -1));
  const where = parent === '' ? 'the pipeline' : parent;
  return problemAt(document, document.rangeOf(path, 'key'), {
    code: 'SPEC_UNKNOWN_KEY',
    path,
    message:
      `key ${quoted(key)} is unknown in ${where}: expected one of ${known.join(', ')}; ` +
      (suggestion === null ? 'remove it' : `did you mean ${suggestion}?`),
    expected: known.join(', '),
    got: key,
    suggestion,
  });
}

function wrongType(
  document: SpecDocument,
  path: SpecPath,
  value: unknown,
  expected: string,
): SpecProblem {
  if (value === undefined) {
    const key = String(path.at(-1) ?? '');
    const parent = renderPath(path.slice(0, -1));
    return problemAt(document, document.rangeOf(path, 'key'), {
      code: 'SPEC_MISSING_KEY',
      path,
      message:
        `key ${quoted(key)} is missing in ${parent === '' ? 'the pipeline' : parent}: ` +
        `expected ${expected}, got nothing; add it`,
      expected,
      got: null,
    });
  }
  return problemAt(document, document.rangeOf(path, 'value'), {
    code: 'SPEC_WRONG_TYPE',
    path,
    ...sentence(path, 'has the wrong type', expected, quoted(value)),
  });
}

function badValue(
  document: SpecDocument,
  path: SpecPath,
  value: unknown,
  values: readonly string[],
): SpecProblem {
  const expected = values.length === 1 ? (values[0] ?? '') : `one of ${values.join(', ')}`;
  if (value === undefined) {
    return wrongType(document, path, value, expected);
  }
  const suggestion = typeof value === 'string' ? nearestName(value, values) : null;
  const facts = sentence(path, 'has an unknown value', expected, quoted(value));
  return problemAt(document, document.rangeOf(path, 'value'), {
    code: 'SPEC_BAD_VALUE',
    path,
    ...facts,
    message: suggestion === null ? facts.message : `${facts.message}; did you mean ${suggestion}?`,
    suggestion,
  });
}

function outOfRange(
  document: SpecDocument,
  path: SpecPath,
  value: unknown,
  expected: string,
): SpecProblem {
  return problemAt(document, document.rangeOf(path, 'value'), {
    code: 'SPEC_OUT_OF_RANGE',
    path,
    ...sentence(path, 'is out of range', expected, quoted(value)),
  });
}

/** Of a union, reports the branch that the value's type points at, else all branches in one line. */
function unionProblems(
  document: SpecDocument,
  issue: Extract<Issue, { code: 'invalid_union' }>,
  path: SpecPath,
  value: unknown,
): SpecProblem[] {
  if (value === undefined) {
    return [wrongType(document, path, value, unionPhrase(issue))];
  }
  const fitting = issue.errors.find((branch) =>
    branch.every(
      (inner) =>
        !(inner.path.length === 0 && ['invalid_type', 'invalid_value'].includes(inner.code)),
    ),
  );
  if (fitting !== undefined) {
    return fitting.flatMap((inner) =>
      problemsOfIssue(document, inner, [
        ...path,
        ...inner.path.map((part) => (typeof part === 'symbol' ? String(part) : part)),
      ]),
    );
  }
  const words = issue.errors.flatMap((branch) =>
    branch.flatMap((inner) => (inner.code === 'invalid_value' ? inner.values.map(String) : [])),
  );
  const suggestion = typeof value === 'string' ? nearestName(value, words) : null;
  const facts = sentence(
    path,
    'has a value that cannot be used',
    unionPhrase(issue),
    quoted(value),
  );
  return [
    problemAt(document, document.rangeOf(path, 'value'), {
      code: 'SPEC_BAD_VALUE',
      path,
      ...facts,
      message:
        suggestion === null ? facts.message : `${facts.message}; did you mean ${suggestion}?`,
      suggestion,
    }),
  ];
}

function unionPhrase(issue: Extract<Issue, { code: 'invalid_union' }>): string {
  if (issue.message !== 'Invalid input') {
    return issue.message;
  }
  const phrases = issue.errors.map((branch) => expectedOf(branch[0]) ?? 'another value');
  return [...new Set(phrases)].join(' or ');
}

/** What an issue wanted, as a phrase; null when it cannot be said shortly. */
function expectedOf(issue: Issue | undefined): string | null {
  if (issue === undefined) {
    return null;
  }
  switch (issue.code) {
    case 'invalid_type':
      return typePhrase(issue.expected);
    case 'invalid_value':
      return issue.values.map(String).join(', ');
    case 'too_small':
      return `at least ${String(issue.minimum)}${unitOf(issue.origin)}`;
    case 'too_big':
      return `at most ${String(issue.maximum)}${unitOf(issue.origin)}`;
    default:
      return issue.message;
  }
}

function unitOf(origin: string): string {
  return origin === 'string' ? ' letters' : origin === 'array' ? ' entries' : '';
}

function typePhrase(expected: string): string {
  const phrases: Readonly<Record<string, string>> = {
    string: 'text',
    int: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
    null: 'null',
  };
  return phrases[expected] ?? expected;
}

function sentence(
  path: SpecPath,
  wrong: string,
  expected: string | null,
  got: string,
): { message: string; expected: string | null; got: string } {
  const subject = path.length === 0 ? 'the pipeline' : renderPath(path);
  return {
    message: `${subject} ${wrong}: expected ${expected ?? 'another value'}, got ${got}`,
    expected,
    got,
  };
}

/** A value as a short literal. */
export function quoted(value: unknown): string {
  if (value === undefined) {
    return 'nothing';
  }
  if (Array.isArray(value)) {
    return 'a list';
  }
  if (typeof value === 'object' && value !== null) {
    return 'a mapping';
  }
  const text =
    typeof value === 'string' ? JSON.stringify(value) : `${value as number | boolean | null}`;
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/** The value at a path of a plain JSON document; undefined when there is none. */
export function valueAt(value: unknown, path: SpecPath): unknown {
  let current = value;
  for (const part of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, part)) {
      return undefined;
    }
    current = (current as Record<string | number, unknown>)[part];
  }
  return current;
}

function placeOf(path: SpecPath): string {
  return path
    .map((part, index) =>
      typeof part === 'number' || (index === 1 && path[0] === 'layers') ? '*' : part,
    )
    .join('.');
}
