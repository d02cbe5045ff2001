// Owns the way from text to a PipelineSpec: parse, check shape, check rules, fill in defaults.
//
// I1 it either returns a spec or throws one SpecError with every problem, sorted by position.
import { digestOf } from '../core/index.ts';
import { problemAt, readDocument, type SpecDocument } from './document.ts';
import { SpecError, type SpecProblem } from './errors.ts';
import type { PipelineInput } from './input.ts';
import { normalise } from './normalise.ts';
import { problemsOf, quoted, valueAt } from './problems.ts';
import { checkRules, warningsOf } from './rules.ts';
import { pipelineShape } from './shape.ts';
import { parseSize } from './size.ts';
import type { PipelineSpec } from './types.ts';

const TEXT_LENGTH_MAX = 1024 * 1024;
const MEMORY_BYTES_MIN = 16 * 2 ** 20;

export interface ParsedSpec {
  readonly spec: PipelineSpec;
  /** SHA-256 of the canonical JSON of `spec`, paths as written. */
  readonly digest: string;
  readonly warnings: readonly SpecProblem[];
}

export interface ParseOptions {
  /** Name of the file in messages. */
  readonly file: string;
}

/** Identity of a pipeline: SHA-256 of its canonical JSON. */
export function specDigest(spec: PipelineSpec): string {
  return digestOf(spec);
}

/**
 * Parses and checks a pipeline spec (YAML or JSON) and fills in defaults.
 *
 * @throws {SpecError} `SPEC_INVALID` with every problem at once
 */
export function parseSpec(text: string, options: ParseOptions): ParsedSpec {
  const document = checkedDocument(text, options.file);
  const spec = normalise(document.value as PipelineInput);
  return { spec, digest: specDigest(spec), warnings: warningsOf(document) };
}

/**
 * Checks a pipeline written in TypeScript and fills in defaults; the same checks as for YAML, with
 * positions in the pipeline's JSON text.
 *
 * @throws {SpecError} `SPEC_INVALID` with every problem at once
 */
export function definePipeline(pipeline: PipelineInput): PipelineSpec {
  return parseSpec(JSON.stringify(pipeline, null, 2), { file: 'definePipeline()' }).spec;
}

function checkedDocument(text: string, file: string): SpecDocument {
  if (text.length > TEXT_LENGTH_MAX) {
    const message =
      `the spec is too long: expected at most ${String(TEXT_LENGTH_MAX)} characters, ` +
      `got ${String(text.length)}; keep data in files and name them`;
    throw new SpecError(file, [startProblem(file, text.slice(0, 200), 'SPEC_TOO_LARGE', message)]);
  }
  const document = readDocument(text.replace(/^\uFEFF/, ''), file);
  const broken = document.syntax.some((problem) => problem.code === 'SPEC_SYNTAX');
  if (!broken && (document.value === null || document.value === undefined)) {
    const message =
      'the spec is empty: expected a mapping with apiVersion, kind, name and more, got nothing; ' +
      'run `tileloom spec init` for one to start from';
    throw new SpecError(file, [startProblem(file, text, 'SPEC_EMPTY', message)]);
  }
  const problems = broken ? document.syntax : [...document.syntax, ...checkValue(document)];
  if (problems.length > 0) {
    throw new SpecError(file, problems.toSorted(byPosition));
  }
  return document;
}

function checkValue(document: SpecDocument): SpecProblem[] {
  const outcome = pipelineShape.safeParse(document.value);
  const shape = outcome.success ? [] : problemsOf(document, outcome.error.issues);
  const rules = checkRules(document);
  return [...shape, ...rules, ...checkMemory(document)];
}

function checkMemory(document: SpecDocument): SpecProblem[] {
  const path = ['limits', 'memory'];
  const memory = valueAt(document.value, path);
  const bytes = typeof memory === 'string' ? parseSize(memory) : null;
  if (bytes === null || bytes >= MEMORY_BYTES_MIN) {
    return [];
  }
  return [
    problemAt(document, document.rangeOf(path, 'value'), {
      code: 'SPEC_OUT_OF_RANGE',
      path,
      message: `limits.memory is out of range: expected at least 16 MiB, got ${quoted(memory)}`,
      expected: 'at least 16 MiB',
      got: quoted(memory),
    }),
  ];
}

function startProblem(
  file: string,
  text: string,
  code: 'SPEC_TOO_LARGE' | 'SPEC_EMPTY',
  message: string,
): SpecProblem {
  const positionOf = (): { line: number; column: number } => ({ line: 1, column: 1 });
  return problemAt({ file, text, positionOf }, { start: 0, end: 1 }, { code, path: [], message });
}

function byPosition(left: SpecProblem, right: SpecProblem): number {
  return left.line - right.line || left.column - right.column || (left.code < right.code ? -1 : 1);
}
