// Owns the reading of external registries: JSON documents that declare variants of other libraries.
//
// Document: { "schema": "tileloom.external-registry/1", "libraryPath": "kernels.so",
// "variants": [VariantSpec, …] }. The path is relative to the document. Strict: unknown keys are
// errors, and every error is reported at once.
import { RegistryError } from './errors.ts';
import { didYouMean } from './nearest-name.ts';
import type { VariantSpec } from './types.ts';

export interface ExternalRegistry {
  readonly schema: 'tileloom.external-registry/1';
  /** Shared library that exports the variants' symbols, relative to the document. */
  readonly libraryPath: string;
  readonly variants: readonly VariantSpec[];
}

/** Returns what is wrong with a value, or null; `expected` is filled in by the caller. */
type Check = (value: unknown) => boolean;

interface FieldRule {
  readonly expected: string;
  readonly valid: Check;
  readonly optional?: boolean;
}

type Fields = Readonly<Record<string, FieldRule>>;

/**
 * Validates an external registry.
 *
 * @param text JSON text
 * @param source name of the document in messages
 * @throws {RegistryError} `REGISTRY_DOCUMENT_INVALID` listing every problem
 */
export function parseExternalRegistry(text: string, source: string): ExternalRegistry {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw invalid(source, [`is not JSON: ${(cause as Error).message}`], cause);
  }
  const problems = checkFields('document', document, DOCUMENT_FIELDS);
  const variants = isRecord(document) ? document['variants'] : undefined;
  if (Array.isArray(variants)) {
    variants.forEach((variant: unknown, index) => {
      problems.push(...checkVariantFields(variant, index));
    });
  }
  if (problems.length > 0) {
    throw invalid(source, problems);
  }
  return document as ExternalRegistry;
}

function checkVariantFields(variant: unknown, index: number): string[] {
  const id = isRecord(variant) ? variant['id'] : undefined;
  const name = typeof id === 'string' ? `variant "${id}"` : `variants[${String(index)}]`;
  const problems = checkFields(name, variant, VARIANT_FIELDS);
  if (isRecord(variant)) {
    if (isRecord(variant['throughput'])) {
      problems.push(...checkFields(`${name} throughput`, variant['throughput'], THROUGHPUT_FIELDS));
    }
    if (isRecord(variant['memory'])) {
      problems.push(...checkFields(`${name} memory`, variant['memory'], MEMORY_FIELDS));
    }
  }
  return problems;
}

function checkFields(name: string, value: unknown, fields: Fields): string[] {
  if (!isRecord(value)) {
    return [`${name}: expected an object, got ${describe(value)}`];
  }
  const problems: string[] = [];
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(fields, key)) {
      problems.push(`${name} has an unknown key "${key}"${didYouMean(key, Object.keys(fields))}`);
    }
  }
  for (const [key, rule] of Object.entries(fields)) {
    const field = value[key];
    if (field === undefined) {
      if (rule.optional !== true) {
        problems.push(`${name} lacks "${key}": expected ${rule.expected}`);
      }
    } else if (!rule.valid(field)) {
      problems.push(`${name} "${key}": expected ${rule.expected}, got ${describe(field)}`);
    }
  }
  return problems;
}

function invalid(source: string, problems: readonly string[], cause?: unknown): RegistryError {
  return new RegistryError(
    'REGISTRY_DOCUMENT_INVALID',
    `external registry ${source} is invalid: ${problems.join('; ')}`,
    { details: { source, problems: problems.length }, cause },
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function text(expected: string, pattern: RegExp): FieldRule {
  return { expected, valid: (value) => typeof value === 'string' && pattern.test(value) };
}

function oneOf(...values: readonly string[]): FieldRule {
  return {
    expected: `one of ${values.join(', ')}`,
    valid: (value) => typeof value === 'string' && values.includes(value),
  };
}

function listOf(...values: readonly string[]): FieldRule {
  const known = new Set<unknown>(values);
  return {
    expected: `a list out of ${values.join(', ')}`,
    valid: (value) => Array.isArray(value) && value.every((item) => known.has(item)),
  };
}

function listOfText(expected: string, pattern: RegExp): FieldRule {
  return {
    expected,
    valid: (value) =>
      Array.isArray(value) &&
      value.every((item: unknown) => typeof item === 'string' && pattern.test(item)),
  };
}

function numberFrom(minimum: number, expected: string): FieldRule {
  return {
    expected,
    valid: (value) => typeof value === 'number' && Number.isFinite(value) && value >= minimum,
  };
}

function orNull(rule: FieldRule): FieldRule {
  return {
    expected: `${rule.expected} or null`,
    valid: (value) => value === null || rule.valid(value),
  };
}

const COUNT: FieldRule = {
  expected: 'a whole number from 0',
  valid: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
};

const VERSION: FieldRule = {
  expected: 'a whole number from 1',
  valid: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

const FLAG: FieldRule = {
  expected: 'true or false',
  valid: (value) => typeof value === 'boolean',
};

const OBJECT: FieldRule = { expected: 'an object', valid: isRecord };
const NAME = text('a lower-case name with dashes', /^[a-z][a-z0-9-]*$/);
const POSITIVE = numberFrom(Number.MIN_VALUE, 'a number above 0');
const NOT_NEGATIVE = numberFrom(0, 'a number from 0');
const KERNEL_CLASS = oneOf('coarse', 'metric', 'predicate', 'constructive');

const DOCUMENT_FIELDS: Fields = {
  schema: oneOf('tileloom.external-registry/1'),
  libraryPath: text('the path of a shared library', /^[^\0]+$/u),
  variants: { expected: 'a list of variants', valid: Array.isArray },
};

const THROUGHPUT_FIELDS: Fields = {
  rowsPerSecondRandom: POSITIVE,
  rowsPerSecondOrdered: POSITIVE,
  fixedSeconds: NOT_NEGATIVE,
  verticesAtRate: { ...POSITIVE, optional: true },
  uploadBytesPerSecond: { ...POSITIVE, optional: true },
};

const MEMORY_FIELDS: Fields = {
  fixedBytes: NOT_NEGATIVE,
  bytesPerRow: NOT_NEGATIVE,
  indexFactor: NOT_NEGATIVE,
};

const VARIANT_FIELDS: Fields = {
  id: text('operation/name@version', /^[a-z][a-z0-9-]*\/[a-z][a-z0-9-]*@[1-9][0-9]*$/),
  operation: NAME,
  name: NAME,
  version: VERSION,
  summary: text('a sentence', /^.{1,200}$/),
  runtime: oneOf('cpu', 'gpu'),
  kernelClass: KERNEL_CLASS,
  numericClass: oneOf('exact', 'compensated', 'transcendental'),
  precisionModes: listOf('fp32', 'fp64'),
  geometryFamilies: listOf(
    'point',
    'linestring',
    'polygon',
    'multipoint',
    'multilinestring',
    'multipolygon',
  ),
  supportsMixed: FLAG,
  preferredResidency: orNull(oneOf('host', 'device')),
  boundaries: listOf('half-open', 'covers', 'contains'),
  overlaps: listOf('first', 'all', 'error'),
  isa: listOfText('a list of instruction sets as in /proc/cpuinfo', /^[a-z0-9_.]{1,24}$/),
  needsIndex: FLAG,
  minRows: orNull(COUNT),
  maxRows: orNull(COUNT),
  tags: listOfText('a list of short tags', /^[a-z][a-z0-9-]{0,23}$/),
  throughput: OBJECT,
  memory: OBJECT,
  symbol: text('a C identifier', /^[A-Za-z_][A-Za-z0-9_]{0,126}$/),
  library: oneOf('cpu', 'cuda', 'external'),
  sourceDigest: text('64 lower-case hex digits', /^[0-9a-f]{64}$/),
};
