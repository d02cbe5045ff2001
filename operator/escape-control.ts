// Owns how text that came from outside is shown: on one line, in the order in which it was written.

/** Controls, marks that reorder, hide or join text, lone surrogates, separators of lines. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Writes characters that would act on the terminal or hide as `\u{..}`; other text stays as it is. */
export function escapeControl(text: string): string {
  return text.replaceAll(UNSAFE, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}
