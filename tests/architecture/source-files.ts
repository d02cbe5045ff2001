// Owns the list of source files that the architecture tests read, and small scanners over them.
import { readFileSync, readdirSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const SKIPPED = new Set(['node_modules', 'dist', '.git', 'build', 'coverage', 'fixtures']);

export interface SourceFile {
  /** Path below the repository root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Every file below a folder whose name matches, in order of path. */
export function sourceFiles(folder: string, name: RegExp): readonly SourceFile[] {
  const found: SourceFile[] = [];
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory() && !SKIPPED.has(entry.name)) {
      found.push(...sourceFiles(path, name));
    } else if (entry.isFile() && name.test(entry.name)) {
      found.push({ path, text: readFileSync(join(ROOT, path), 'utf8') });
    }
  }
  return found.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Names of the folders at the top of the repository. */
export function topFolders(): readonly string[] {
  return readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .filter((name) => !SKIPPED.has(name));
}

export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** Static, dynamic and re-exporting imports of a TypeScript file. */
export function importsOf({ text }: SourceFile): readonly Import[] {
  const code = blanked(text, { strings: false });
  const statements =
    /(?:^|[;}\s])(?:import|export)\s+(type\s)?(?:[\w*{}\s,$]+?\sfrom\s*)?['"]([^'"]+)['"]/gu;
  const calls = /(typeof\s+)?\bimport\(\s*['"]([^'"]+)['"]/gu;
  return [...code.matchAll(statements), ...code.matchAll(calls)].map((match) => ({
    specifier: match[2] ?? '',
    typeOnly: match[1] !== undefined,
  }));
}

/** Resolves a relative specifier of a file to a path below the root; null for packages. */
export function resolveImport(file: SourceFile, specifier: string): string | null {
  return specifier.startsWith('.')
    ? relative(ROOT, join(ROOT, posix.dirname(file.path), specifier)).replaceAll('\\', '/')
    : null;
}

/**
 * Replaces comments (and strings, unless told otherwise) by blanks of the same length.
 *
 * Good for C++ and TypeScript of this house; a regular expression literal counts as code.
 */
export function blanked(text: string, { strings }: { readonly strings: boolean }): string {
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/gu;
  return text.replaceAll(token, (found) => {
    const comment = found.startsWith('//') || found.startsWith('/*');
    return comment || strings ? found.replaceAll(/[^\n]/gu, ' ') : found;
  });
}

export interface CppFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

/** Function bodies of a C++ file: braces that follow a parameter list. */
export function cppFunctions({ text }: SourceFile): readonly CppFunction[] {
  const code = blanked(text, { strings: true });
  const head =
    /([\w:~]+)\s*\((?:[^(){};]|\([^()]*\))*\)\s*(?:const\s*|noexcept\s*|override\s*|->\s*[\w:<>*&\s]+?|:\s[^{;]*?)*\{/gu;
  const found: CppFunction[] = [];
  for (const match of code.matchAll(head)) {
    const name = match[1] ?? '';
    if (!/^(?:if|for|while|switch|catch|return|sizeof|alignas)$/u.test(name)) {
      const start = match.index + match[0].length;
      const line = code.slice(0, match.index).split('\n').length;
      const body = code.slice(match.index, closingBrace(code, start));
      found.push({ name, line, lines: body.split('\n').length });
    }
  }
  return found;
}

function closingBrace(code: string, start: number): number {
  let depth = 1;
  for (let index = start; index < code.length; index += 1) {
    if (code[index] === '{') {
      depth += 1;
    } else if (code[index] === '}') {
      depth -= 1;
      if (depth === 0) {
        return index;
      }
    }
  }
  return code.length;
}
