// A variant names its sources; their digest is part of the registry and thereby of every plan.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { NO_SOURCES_DIGEST, REGISTRY, VARIANT_SOURCES } from '../../registry/index.ts';

const ROOT = new URL('../../', import.meta.url);
const SOURCE_FILE = /\.(?:c|h|cpp|hpp|cu|cuh|inc)$/u;

function filesOf(source: string): readonly string[] {
  if (!source.endsWith('/')) {
    return [source];
  }
  return readdirSync(new URL(source, ROOT))
    .filter((name) => SOURCE_FILE.test(name))
    .toSorted()
    .map((name) => `${source}${name}`);
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

describe('source digests', () => {
  const variants = REGISTRY.operations.flatMap((operation) => operation.variants);

  test.each(variants.map((variant) => [variant.id, variant.sourceDigest]))(
    '%s carries the digest of its sources (else: node scripts/update-source-digests.mjs)',
    (id, digest) => {
      const sources = VARIANT_SOURCES[id];
      if (sources === undefined) {
        expect(digest).toBe(NO_SOURCES_DIGEST);
        return;
      }
      const lines = sources
        .flatMap((source) => filesOf(source))
        .map((path) => `${path}\n${sha256(readFileSync(new URL(path, ROOT)))}\n`);
      expect(digest).toBe(sha256(lines.join('')));
    },
  );
});
