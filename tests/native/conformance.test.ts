import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openKernels, verifyVariant } from '../../native/index.ts';
import { variantsOfThisHost } from './helpers/variants.ts';

const CORPUS = join(import.meta.dirname, '..', 'fixtures', 'corpus');
const library = openKernels();

describe('verifyVariant', () => {
  for (const variant of variantsOfThisHost(library.isa)) {
    test(`finds no wrong answer of ${variant.id} in the corpus`, { timeout: 240_000 }, async () => {
      const report = await verifyVariant(library, variant, CORPUS);
      expect(report.failures).toEqual([]);
      expect(report.failed).toBe(0);
      expect(report.checked.orientation).toBe(10_046);
      expect(report.checked.sums).toBe(395 * 14);
      expect(report.checked.points).toBeGreaterThan(100_000);
    });
  }
});
