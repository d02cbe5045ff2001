// Owns how text that came from outside is shown: on one line, in the order in which it was written.

/** C0 and C1 controls, separators of lines, marks that reorder or hide text, lone surrogates. */
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]|[\ud800-\udfff]/gu;

/** Writes characters that would act on the terminal or hide as `\u{..}`; other text stays as it is. */
export function escapeControl(text: string): string {
  return text.replaceAll(UNSAFE, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}
