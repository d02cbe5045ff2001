// How text from outside is shown: nothing in it acts on a terminal or hides what stands there.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { escapeControl, pauseSentence, type Pause } from '../../operator/index.ts';

const PAUSE: Pause = {
  mode: 'drain',
  by: 'ann',
  reason: 'disk is nearly full',
  epoch: 3,
  since: 0,
  until: Date.UTC(2026, 10, 23, 14, 0),
};

describe('pauseSentence', () => {
  test('tells who, until when, and why', () => {
    expect(pauseSentence(PAUSE)).toBe(
      'paused by ann until 2026-11-23 14:00 UTC: disk is nearly full',
    );
    expect(pauseSentence({ ...PAUSE, until: null })).toBe('paused by ann: disk is nearly full');
    expect(pauseSentence({ ...PAUSE, until: null, reason: '' })).toBe('paused by ann');
  });

  test('shows seconds where the end has some', () => {
    const until = Date.UTC(2026, 10, 23, 14, 0, 5, 250);
    expect(pauseSentence({ ...PAUSE, until })).toContain('until 2026-11-23 14:00:05 UTC');
  });

  test('escapes the author and the reason', () => {
    const nasty = { ...PAUSE, until: null, by: 'a\u001b[31m', reason: 'x\ny\u202ez' };
    expect(pauseSentence(nasty)).toBe('paused by a\\u{1b}[31m: x\\u{a}y\\u{202e}z');
  });
});

describe('escapeControl', () => {
  test.each([
    ['plain text, größer 語 🌍', 'plain text, größer 語 🌍'],
    ['\u0000\u0007\t\r\n\u007f\u009b', '\\u{0}\\u{7}\\u{9}\\u{d}\\u{a}\\u{7f}\\u{9b}'],
    [
      '\u202a\u202e\u2066\u2069\u200f\u061c',
      '\\u{202a}\\u{202e}\\u{2066}\\u{2069}\\u{200f}\\u{61c}',
    ],
    ['\u2028\u2029\ufeff\u200b', '\\u{2028}\\u{2029}\\u{feff}\\u{200b}'],
    ['lone \ud800 and \udc00', 'lone \\u{d800} and \\u{dc00}'],
  ])('%j is shown as %j', (text, shown) => {
    expect(escapeControl(text)).toBe(shown);
  });

  test('any text stays on one line, and is shown as it is once escaped', () => {
    const property = fc.property(fc.string({ unit: 'binary' }), (text) => {
      const shown = escapeControl(text);
      expect(shown).not.toMatch(/\p{Cc}|\p{Cs}|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/u);
      expect(escapeControl(shown)).toBe(shown);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
