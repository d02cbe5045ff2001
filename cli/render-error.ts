// Owns how an error reaches the user: `code: what is wrong (expected, got); what to do`, or one
// JSON object; a stack trace only with --verbose.
import { CommanderError } from 'commander';
import { isEngineError } from '../core/index.ts';
import type { SpecError } from '../spec/index.ts';
import type { OutputFormat } from './output.ts';

export interface RenderOptions {
  readonly format: OutputFormat;
  readonly verbose: boolean;
}

/** Renders an error for stderr, without a final line break. */
export async function renderError(error: unknown, options: RenderOptions): Promise<string> {
  const body = options.format === 'text' ? printable(await renderText(error)) : renderJson(error);
  return options.verbose && error instanceof Error ? `${body}\n${traceOf(error)}` : body;
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Text without control characters: a binary file quoted in an error must not steer the terminal. */
function printable(text: string): string {
  return text.replace(CONTROL, '\ufffd');
}

/** By name: loading the room of specs takes longer than most commands do. */
function isSpecError(error: unknown): error is SpecError {
  return isEngineError(error) && error.name === 'SpecError';
}

async function renderText(error: unknown): Promise<string> {
  if (isSpecError(error)) {
    const { renderSpecProblems } = await import('../spec/index.ts');
    const count = error.problems.length;
    const total = `${error.code}: ${String(count)} problem${count === 1 ? '' : 's'} in the spec`;
    return `${renderSpecProblems(error.problems)}\n\n${total}`;
  }
  if (isEngineError(error)) {
    return `${error.code}: ${error.message}`;
  }
  if (error instanceof CommanderError) {
    return `CLI_USAGE: ${usageMessage(error)}`;
  }
  return `UNEXPECTED: ${messageOf(error)}; run again with --verbose for a trace`;
}

function renderJson(error: unknown): string {
  const base = { schema: 'tileloom.cli.error/1' };
  if (isSpecError(error)) {
    return JSON.stringify({
      ...base,
      code: error.code,
      message: error.message,
      retryable: false,
      details: error.details,
      problems: error.problems,
    });
  }
  if (isEngineError(error)) {
    const { code, message, retryable, details } = error;
    return JSON.stringify({ ...base, code, message, retryable, details });
  }
  const usage = error instanceof CommanderError;
  return JSON.stringify({
    ...base,
    code: usage ? 'CLI_USAGE' : 'UNEXPECTED',
    message: usage ? usageMessage(error) : messageOf(error),
    retryable: false,
    details: {},
  });
}

/** Commander's own text, in the house form. */
function usageMessage(error: CommanderError): string {
  const plain = error.message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .trim();
  return `${plain}; add --help to see how it is used`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function traceOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${traceOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
