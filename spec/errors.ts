// Owns the errors of the spec room. One SpecError carries every problem of a spec at once.
import { EngineError } from '../core/index.ts';

/** What can be wrong with one place of a spec. */
export type SpecProblemCode =
  | 'SPEC_TOO_LARGE'
  | 'SPEC_EMPTY'
  | 'SPEC_SYNTAX'
  | 'SPEC_DUPLICATE_KEY'
  | 'SPEC_UNKNOWN_KEY'
  | 'SPEC_MISSING_KEY'
  | 'SPEC_WRONG_TYPE'
  | 'SPEC_BAD_VALUE'
  | 'SPEC_OUT_OF_RANGE'
  | 'SPEC_UNKNOWN_LAYER'
  | 'SPEC_STEP_ORDER'
  | 'SPEC_BY_MISMATCH'
  | 'SPEC_DUPLICATE_MEASURE'
  | 'SPEC_NOTHING_TO_WRITE'
  | 'SPEC_CRS_MISMATCH';

/** `SPEC_INVALID` is the code of the error as a whole; each problem in it has its own. */
export type SpecErrorCode = 'SPEC_INVALID';

/** One mistake at one place. Lines and columns count from 1; columns count UTF-16 units. */
export interface SpecProblem {
  readonly code: SpecProblemCode;
  /** Place in the document, such as `steps[0].assign.layer`; empty for the document itself. */
  readonly path: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** One sentence without position: what is wrong, expected, got, what to do. */
  readonly message: string;
  readonly expected: string | null;
  readonly got: string | null;
  /** The nearest known key or value, when one is near. */
  readonly suggestion: string | null;
  /** The source line and a line of carets below it. */
  readonly excerpt: string;
}

export class SpecError extends EngineError<SpecErrorCode> {
  readonly problems: readonly SpecProblem[];

  constructor(file: string, problems: readonly SpecProblem[]) {
    const count = problems.length === 1 ? '1 problem' : `${String(problems.length)} problems`;
    const first = problems[0];
    super(
      'SPEC_INVALID',
      `spec ${file} is not valid: expected a tileloom/v1 pipeline, got ${count}` +
        (first === undefined ? '' : `, first ${first.code}: ${first.message}`),
      {
        details: {
          file,
          problems: problems.length,
          line: first?.line ?? null,
          column: first?.column ?? null,
        },
      },
    );
    this.name = 'SpecError';
    this.problems = problems;
  }
}

/** Renders the problems of a spec for a terminal: position, message and caret excerpt of each. */
export function renderSpecProblems(problems: readonly SpecProblem[]): string {
  return problems
    .map(
      (problem) =>
        `${problem.file}:${String(problem.line)}:${String(problem.column)}: ` +
        `${problem.code}: ${problem.message}\n${problem.excerpt}`,
    )
    .join('\n\n');
}
