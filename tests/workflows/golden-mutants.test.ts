// Golden histories are worth what they catch: workflow code that would not replay must fail on one.
import { beforeAll, describe, expect, test } from 'vitest';
import { readGolden, type GoldenHistory } from './golden/histories.ts';
import { asNumber, bundleMutants, mutated } from './golden/mutate.ts';
import { MUTANTS, type Mutant } from './golden/mutants.ts';
import { installQuietRuntime, replay, type Mismatch } from './golden/replay.ts';

let golden: readonly GoldenHistory[] = [];
let bundle: { readonly code: string };
beforeAll(async () => {
  installQuietRuntime();
  golden = await readGolden();
  bundle = await bundleMutants(MUTANTS);
}, 60_000);

/** The first history that a mutant does not replay; those of its behaviour are asked first. */
async function mismatchOf(mutant: Mutant): Promise<Mismatch | undefined> {
  const number = 1 + MUTANTS.indexOf(mutant);
  const first = golden.filter(({ behaviour }) => behaviour === mutant.shownBy);
  const others = golden.filter(({ behaviour }) => behaviour !== mutant.shownBy);
  const asked = [...first, ...others].map((one) => asNumber(one, number));
  return (await replay({ code: bundle.code }, asked, 1))[0];
}

describe('golden histories notice', () => {
  test('at least ten breaches', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBeGreaterThanOrEqual(10);
  });

  test.each(MUTANTS)('$name', async (mutant) => {
    expect(mutated(mutant)).not.toBe('');
    const mismatch = await mismatchOf(mutant);
    expect(mismatch?.message ?? 'nothing').toMatch(/TMPRL1100|workflow machines/u);
  });

  test('nothing in the sources as they are', async () => {
    const asked = golden.map((one) => asNumber(one, 0));
    const mismatches = await replay({ code: bundle.code }, asked);
    expect(mismatches.map(({ message }) => message)).toEqual([]);
  });

  test('a mutant whose text is not there any more', () => {
    const stale = { name: 'stale', file: 'lane.ts', from: 'no such text', to: '' };
    expect(() => mutated(stale)).toThrow(
      'mutant "stale" no longer applies: expected its text once in workflows/lane.ts, got it 0 times',
    );
  });
});
