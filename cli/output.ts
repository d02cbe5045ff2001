// Owns what goes to stdout: one document or list in the format that was asked for. Every JSON
// document and every JSON line begins with `schema`, whose number rises when a field changes its
// meaning.
import type { CommandIo } from './io.ts';
import { styleFor, type Style } from './format.ts';

export const OUTPUT_FORMATS = ['text', 'json', 'jsonl'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

export interface Output {
  readonly format: OutputFormat;
  /** Writes one document; in text, what `render` makes of it. */
  readonly document: (schema: string, value: object, render: (style: Style) => string) => void;
  /** Writes a list: one document with the list in json, one line an item in jsonl. */
  readonly list: (
    names: { readonly schema: string; readonly itemSchema: string; readonly key: string },
    items: readonly object[],
    render: (style: Style) => string,
  ) => void;
  /** A message for people on stderr. */
  readonly note: (message: string) => void;
}

/** Makes the output of one command. */
export function createOutput(io: CommandIo, format: OutputFormat): Output {
  const style = styleFor(io, 'stdout');
  const write = (value: object): void => {
    io.stdout(`${format === 'json' ? JSON.stringify(value, null, 2) : JSON.stringify(value)}\n`);
  };
  const text = (rendered: string): void => {
    io.stdout(rendered === '' ? '' : `${rendered}\n`);
  };
  return {
    format,
    document: (schema, value, render) => {
      if (format === 'text') {
        text(render(style));
      } else {
        write({ schema, ...value });
      }
    },
    list: (names, items, render) => {
      if (format === 'text') {
        text(render(style));
      } else if (format === 'json') {
        write({ schema: names.schema, [names.key]: items });
      } else {
        for (const item of items) {
          write({ schema: names.itemSchema, ...item });
        }
      }
    },
    note: (message) => {
      io.stderr(`${message}\n`);
    },
  };
}
