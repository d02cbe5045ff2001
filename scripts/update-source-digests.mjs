// Writes registry/source-digests.ts from the native sources that registry/variant-sources.ts names,
// and the digest of what the device library embeds.
// Run after any change below native/: node scripts/update-source-digests.mjs
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sourcesDigest } from './cuda/sources.mjs';

const ROOT = new URL('../', import.meta.url);
const SOURCE_FILE = /\.(?:c|h|cpp|hpp|cu|cuh|inc)$/u;

const sha256 = (content) => createHash('sha256').update(content).digest('hex');

/** Node 20 does not run TypeScript, so the table is read from its text: plain string literals. */
function readSources() {
  const text = readFileSync(new URL('registry/variant-sources.ts', ROOT), 'utf8');
  const shared = literals(/const SHARED = \[([^\]]*)\]/u.exec(text)?.[1] ?? '');
  const rows = text.matchAll(/'([a-z0-9-]+\/[a-z0-9-]+@\d+)':\s*\[([^\]]*)\]/gu);
  return [...rows].map(([, id, list]) => ({
    id,
    sources: [...(list.includes('...SHARED') ? shared : []), ...literals(list)],
  }));
}

function literals(text) {
  return [...text.matchAll(/'([^']+)'/gu)].map((match) => match[1]);
}

function filesOf(source) {
  if (!source.endsWith('/')) return [source];
  return readdirSync(new URL(source, ROOT))
    .filter((name) => SOURCE_FILE.test(name))
    .toSorted()
    .map((name) => `${source}${name}`);
}

const device = sourcesDigest(fileURLToPath(new URL('native', ROOT))).toString('hex');
const lines = readSources().map(({ id, sources }) => {
  const files = sources.flatMap((source) => filesOf(source));
  const parts = files.map((path) => `${path}\n${sha256(readFileSync(new URL(path, ROOT)))}\n`);
  return `  '${id}': '${sha256(parts.join(''))}',`;
});

writeFileSync(
  new URL('registry/source-digests.ts', ROOT),
  `// Written by scripts/update-source-digests.mjs. Do not edit: run the script after a native change.

/** SHA-256 over the native sources of each variant, in the order of \`variant-sources.ts\`. */
export const SOURCE_DIGESTS: Readonly<Record<string, string>> = Object.freeze({
${lines.join('\n')}
});

/**
 * XXH3-128 of the kernel sources and compile options that the device library embeds: what its
 * \`tl_device_sources\` tells, and what every kernel image must have been made of.
 */
export const DEVICE_SOURCES_DIGEST = '${device}';
`,
);
process.stdout.write(`registry/source-digests.ts: ${lines.length} variants\n`);
