// Owns the rules that join several places of a spec. They read the raw value leniently, so that
// they also speak when the shape is wrong elsewhere: every problem is reported at once.
import { nearestName } from '../registry/index.ts';
import { problemAt, type ProblemFacts, type SpecDocument, type SpecPath } from './document.ts';
import type { SpecProblem } from './errors.ts';
import { quoted, valueAt } from './problems.ts';

const LONGITUDE_LATITUDE = ['OGC:CRS84', 'EPSG:4326'];

/** Longitude comes first in both, whatever the authority's axis order says (docs/spec.md). */
function sameCrs(left: string, right: string): boolean {
  const normal = (crs: string): string => {
    const upper = crs.toUpperCase();
    return LONGITUDE_LATITUDE.includes(upper) ? 'OGC:CRS84' : upper;
  };
  return normal(left) === normal(right);
}

interface Reporter {
  readonly document: SpecDocument;
  readonly problems: SpecProblem[];
}

function report(
  reporter: Reporter,
  what: 'key' | 'value',
  facts: ProblemFacts & { readonly at?: SpecPath },
): void {
  const range = reporter.document.rangeOf(facts.at ?? facts.path, what);
  reporter.problems.push(problemAt(reporter.document, range, facts));
}

/** Checks every cross-field rule on the raw document. */
export function checkRules(document: SpecDocument): SpecProblem[] {
  const reporter: Reporter = { document, problems: [] };
  checkSteps(reporter);
  checkOutput(reporter);
  checkCrs(reporter);
  return reporter.problems;
}

function checkSteps(reporter: Reporter): void {
  const steps = valueAt(reporter.document.value, ['steps']);
  if (!Array.isArray(steps)) {
    return;
  }
  const kinds = steps.map((step) => kindsOf(step));
  kinds.forEach((kind, index) => {
    if (kind.length !== 1 && isMapping(steps[index])) {
      report(reporter, 'value', {
        code: 'SPEC_STEP_ORDER',
        path: ['steps', index],
        message:
          `steps[${String(index)}] is not one step: expected exactly one of assign, aggregate, ` +
          `got ${kind.length === 0 ? 'neither' : 'both'}; give each step its own list item`,
      });
    }
  });
  const plain = kinds.map((kind) => kind[0] ?? null);
  if (plain[0] !== 'assign' || plain.indexOf('assign', 1) > 0 || steps.length > 2) {
    const got = plain.map((kind) => kind ?? 'unknown').join(', ');
    report(reporter, 'key', {
      code: 'SPEC_STEP_ORDER',
      path: ['steps'],
      message:
        'steps are not in a known order: expected one assign, then at most one aggregate, ' +
        `got ${got === '' ? 'no step' : got}; put a single assign first`,
      expected: 'assign, aggregate',
      got,
    });
  }
  steps.forEach((step: unknown, index) => {
    checkAssign(reporter, step, index);
    checkAggregate(reporter, steps, step, index);
  });
}

function checkAssign(reporter: Reporter, step: unknown, index: number): void {
  const layer = valueAt(step, ['assign', 'layer']);
  const layers = valueAt(reporter.document.value, ['layers']);
  if (typeof layer !== 'string' || !isMapping(layers) || Object.hasOwn(layers, layer)) {
    return;
  }
  const known = Object.keys(layers);
  const suggestion = nearestName(layer, known);
  report(reporter, 'value', {
    code: 'SPEC_UNKNOWN_LAYER',
    path: ['steps', index, 'assign', 'layer'],
    message:
      `layer ${quoted(layer)} is not defined: expected ` +
      (known.length === 0 ? 'a layer under layers' : `one of ${known.join(', ')}`) +
      `, got ${quoted(layer)}; ` +
      (suggestion === null ? 'add it under layers' : `did you mean ${suggestion}?`),
    expected: known.join(', '),
    got: layer,
    suggestion,
  });
}

function checkAggregate(
  reporter: Reporter,
  steps: readonly unknown[],
  step: unknown,
  index: number,
): void {
  const by = valueAt(step, ['aggregate', 'by']);
  const names = steps.map((other) => valueAt(other, ['assign', 'as'])).filter(isText);
  if (typeof by === 'string' && names.length > 0 && !names.includes(by)) {
    report(reporter, 'value', {
      code: 'SPEC_BY_MISMATCH',
      path: ['steps', index, 'aggregate', 'by'],
      message:
        `by names nothing that a step makes: expected ${names.join(', ')} (the assign step's as), ` +
        `got ${quoted(by)}; did you mean ${names[0] ?? ''}?`,
      expected: names.join(', '),
      got: by,
      suggestion: names[0] ?? null,
    });
  }
  const measures = valueAt(step, ['aggregate', 'measures']);
  if (!Array.isArray(measures)) {
    return;
  }
  const seen = new Set<string>();
  measures.forEach((measure: unknown, place) => {
    const path = ['steps', index, 'aggregate', 'measures', place];
    if (isMapping(measure) && Object.keys(measure).length !== 1) {
      report(reporter, 'value', {
        code: 'SPEC_BAD_VALUE',
        path,
        message:
          'a measure has exactly one function: expected { sum | mean | min | max: column } or count, ' +
          `got ${String(Object.keys(measure).length)} keys; write one list item for each function`,
      });
    }
    const identity = JSON.stringify(measure);
    if (seen.has(identity)) {
      report(reporter, 'value', {
        code: 'SPEC_DUPLICATE_MEASURE',
        path,
        message: `measure ${identity.slice(0, 80)} appears twice: expected each measure once; remove one`,
      });
    }
    seen.add(identity);
  });
}

function checkOutput(reporter: Reporter): void {
  const steps = valueAt(reporter.document.value, ['steps']);
  const rows = valueAt(reporter.document.value, ['sink', 'rows']);
  const format = valueAt(reporter.document.value, ['sink', 'format']);
  if (!Array.isArray(steps) || !isMapping(valueAt(reporter.document.value, ['sink']))) {
    return;
  }
  const aggregates = steps.some((step) => kindsOf(step).includes('aggregate'));
  if (!aggregates && rows !== true) {
    report(reporter, 'key', {
      code: 'SPEC_NOTHING_TO_WRITE',
      path: ['sink', 'rows'],
      at: rows === undefined ? ['sink'] : ['sink', 'rows'],
      message:
        'the pipeline writes nothing: expected an aggregate step or sink.rows: true, got neither; ' +
        'add one of them',
    });
  }
  if (!aggregates && format === 'geojson') {
    report(reporter, 'value', {
      code: 'SPEC_BAD_VALUE',
      path: ['sink', 'format'],
      message:
        'format geojson needs an aggregate: expected an aggregate step, got none; ' +
        'add one, or use arrow, parquet or csv',
    });
  }
}

function checkCrs(reporter: Reporter): void {
  const layers = valueAt(reporter.document.value, ['layers']);
  const declared = valueAt(reporter.document.value, ['source', 'crs']);
  const source = declared === undefined ? 'OGC:CRS84' : declared;
  if (!isMapping(layers) || !isText(source)) {
    return;
  }
  for (const name of Object.keys(layers)) {
    const crs = valueAt(layers, [name, 'crs']);
    if (isText(crs) && !sameCrs(crs, source)) {
      report(reporter, 'value', {
        code: 'SPEC_CRS_MISMATCH',
        path: ['layers', name, 'crs'],
        message:
          `layer ${name} lies in another CRS than the source: expected ${source}, got ${crs}; ` +
          'reproject one of them',
        expected: source,
        got: crs,
      });
    }
  }
}

/** Things that are allowed but probably not meant. */
export function warningsOf(document: SpecDocument): SpecProblem[] {
  const reporter: Reporter = { document, problems: [] };
  const layers = valueAt(document.value, ['layers']);
  const steps = valueAt(document.value, ['steps']);
  const crs = valueAt(document.value, ['source', 'crs']);
  if (isMapping(layers) && Array.isArray(steps)) {
    const used = steps.map((step) => valueAt(step, ['assign', 'layer']));
    for (const name of Object.keys(layers).filter((layer) => !used.includes(layer))) {
      report(reporter, 'key', {
        code: 'SPEC_UNKNOWN_LAYER',
        path: ['layers', name],
        message: `layer ${name} is not used by any step; it is not read`,
      });
    }
  }
  const wrap = valueAt(document.value, ['source', 'wrap']);
  if (wrap === true && isText(crs) && !LONGITUDE_LATITUDE.includes(crs.toUpperCase())) {
    report(reporter, 'value', {
      code: 'SPEC_CRS_MISMATCH',
      path: ['source', 'wrap'],
      message: `wrap maps longitudes in degrees, and ${crs} may not have any; it is meant for OGC:CRS84`,
    });
  }
  return reporter.problems;
}

function kindsOf(step: unknown): string[] {
  return isMapping(step) ? ['assign', 'aggregate'].filter((kind) => Object.hasOwn(step, kind)) : [];
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
