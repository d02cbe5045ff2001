import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { REASON_CODES, REJECT_CODES, renderReason } from '../../planner/index.ts';

const DOCUMENT = readFileSync(new URL('../../docs/planner.md', import.meta.url), 'utf8');
const SOURCES = [
  'attempt',
  'candidates',
  'chunk-sizing',
  'competition',
  'device-health',
  'finishing',
  'memory',
  'plan',
  'precision',
  'rates',
  'refusal',
]
  .map((name) => readFileSync(new URL(`../../planner/${name}.ts`, import.meta.url), 'utf8'))
  .join('\n');

describe('codes', () => {
  test.each([...REASON_CODES, ...REJECT_CODES])(
    '%s is rendered, documented and given by the planner',
    (code) => {
      const text = renderReason({ code });
      expect(text).toMatch(/^[^{}]+\.$/u);
      expect(text).not.toContain(code);
      expect(DOCUMENT).toContain(`\`${code}\``);
      expect(SOURCES).toContain(`'${code}'`);
    },
  );

  test('reasons and rejects share no code', () => {
    expect(
      REASON_CODES.filter((code) => (REJECT_CODES as readonly string[]).includes(code)),
    ).toEqual([]);
  });
});

describe('renderReason', () => {
  test('fills in parameters and groups digits', () => {
    const params = { units: 12_345_678, unit: 'rows', threshold: 10_000 };
    expect(renderReason({ code: 'CROSSOVER_REACHED', params })).toBe(
      '12,345,678 rows reach the crossover of 10,000: GPU.',
    );
  });

  test('shows a question mark for a parameter that is missing', () => {
    expect(renderReason({ code: 'PIN_APPLIED', params: { pin: 'a' } })).toBe('Pin a fixes ? to ?.');
  });

  test('shows a code it does not know as it is', () => {
    expect(renderReason({ code: 'OF_THE_FUTURE', params: { a: 1 } })).toBe('OF_THE_FUTURE {"a":1}');
  });
});
