// The commands that the documents show are run: fenced blocks marked `sh runnable`, block by block in
// one new folder per document, against the built command line. What cannot be run here (npm ci, docker)
// is checked to exist.
import { execFile } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Row counts of the documents, made small by the same option. */
const ROWS = '60_000';

const markdownIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { encoding: 'utf8', recursive: true })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
const DOCUMENTS = ['README.md', ...markdownIn('docs'), ...markdownIn('examples')];

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const runnableBlocks = (text: string): string[] =>
  [...text.matchAll(/^```(?:sh|console) runnable\n([\s\S]*?)^```$/gm)].map(
    ([, body]) => body ?? '',
  );

/** Fenced files: blocks whose first line is a comment with nothing but a file name. */
const fencedFiles = (text: string): [string, string][] =>
  [...text.matchAll(/^```yaml\n(# ([\w.-]+\.yaml)\n[\s\S]*?)^```$/gm)].map(([, body, name]) => [
    name ?? '',
    body ?? '',
  ]);

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-docs-'));
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const command = join(bin, 'tileloom');
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(command, 0o755);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function run(block: string, cwd: string): Promise<{ code: number; output: string }> {
  const { address, namespace } = inject('temporal');
  const env = {
    ...process.env,
    PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`,
    NO_COLOR: '1',
    TILELOOM_HOME: join(folder, 'home'),
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: namespace,
  };
  const script = block.replaceAll(/--rows [\d_]+/g, `--rows ${ROWS}`);
  return new Promise((resolve) => {
    execFile('bash', ['-euo', 'pipefail', '-c', script], { cwd, env }, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      resolve({ code, output: `${stdout}\n${stderr}` });
    });
  });
}

/** A new folder with the files that a document's commands expect beside them. */
function stage(document: string): string {
  const cwd = join(folder, document.replaceAll('/', '-'));
  mkdirSync(cwd);
  symlinkSync(join(ROOT, 'node_modules'), join(cwd, 'node_modules'));
  const pipeline = join(ROOT, dirname(document), 'pipeline.yaml');
  if (existsSync(pipeline)) {
    copyFileSync(pipeline, join(cwd, 'pipeline.yaml'));
  }
  for (const [name, body] of fencedFiles(read(document))) {
    writeFileSync(join(cwd, name), body);
  }
  return cwd;
}

describe('runnable commands', () => {
  const withBlocks = DOCUMENTS.filter((path) => runnableBlocks(read(path)).length > 0);

  test('are shown by the README and by every example', () => {
    expect(withBlocks).toContain('README.md');
    expect(withBlocks).toEqual(
      expect.arrayContaining(DOCUMENTS.filter((path) => path.startsWith('examples/'))),
    );
  });

  test.each(withBlocks)('of %s run', async (document) => {
    const cwd = stage(document);
    for (const block of runnableBlocks(read(document))) {
      const { code, output } = await run(block, cwd);
      expect(code, `${block}\n${output}`).toBe(0);
    }
    const sinks = ['README.md', 'examples/'].some((start) => document.startsWith(start));
    expect(existsSync(join(cwd, 'out', '_SUCCESS'))).toBe(sinks);
  });
});

describe('other commands', () => {
  const scripts = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;

  test.each(DOCUMENTS)('of %s name scripts and files that exist', (document) => {
    const text = read(document);
    for (const [, name = 'test'] of text.matchAll(/npm (?:run ([a-z][a-z:-]+)|test\b)/g)) {
      expect(Object.keys(scripts), `npm ${name}`).toContain(name);
    }
    for (const [, path = ''] of text.matchAll(/node ((?:scripts|bench)\/[\w./-]+)/g)) {
      expect(existsSync(join(ROOT, path)), path).toBe(true);
    }
    for (const [, path = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)) {
      expect(existsSync(join(ROOT, dirname(document), path)), path).toBe(true);
    }
  });
});
