// Owns `tileloom variant`: the registry, and the proof that variants agree with exact arithmetic.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { REGISTRY, nearestName, type VariantSpec } from '../../registry/index.ts';
import { homePaths } from '../../server/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { textOf } from '../options.ts';
import { verifyVariants, type Verdict } from '../variants/verify.ts';
import { packageRoot } from '../version.ts';
import { formatBytes, formatCount, formatFacts, formatShort, formatTable } from '../format.ts';

/** Adds the group. */
export function addVariantCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'variant', 'See and prove the kernel variants.');
  addLeaf(group, context, {
    name: 'list',
    summary: 'List every variant that a planner may choose.',
    examples: ['tileloom variant list', 'tileloom variant list -o json'],
    run: ({ output }) => {
      const variants = allVariants();
      const names = {
        schema: 'tileloom.cli.variant-list/1',
        itemSchema: 'tileloom.cli.variant-list-item/1',
        key: 'variants',
      };
      output.list(names, variants, () =>
        [
          formatTable(
            ['variant', 'runtime', 'class', 'ISA', 'rows/s random', 'rows/s ordered', 'what it is'],
            variants.map((variant) => [
              variant.id,
              variant.runtime,
              variant.numericClass,
              variant.isa.join(' '),
              formatShort(variant.throughput.rowsPerSecondRandom),
              formatShort(variant.throughput.rowsPerSecondOrdered),
              variant.summary,
            ]),
          ),
          `registry version ${String(REGISTRY.version)}, digest ${REGISTRY.digest}`,
        ].join('\n\n'),
      );
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'show',
    summary: 'Show all that the registry declares of one variant.',
    args: [['<variant>', 'id, such as assign/grid-avx2@1']],
    examples: ['tileloom variant show assign/grid-avx2@1'],
    run: ({ output }, [id = '']) => {
      const variant = requireVariant(id);
      output.document('tileloom.cli.variant-show/1', { variant }, () => renderVariant(variant));
      return undefined;
    },
  });
  addVerify(group, context);
}

function addVerify(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'verify',
    summary: 'Run every variant that this host can run against the conformance corpus.',
    args: [['[variant]', 'only this one']],
    options: [
      ['--device <id>', 'also run the variants for GPUs, on this device (see device list)'],
      ['--corpus <folder>', "folder with the corpus (default: the one in this product's sources)"],
    ],
    examples: [
      'tileloom variant verify',
      'tileloom variant verify assign/grid-avx2@1 --corpus ./corpus -o json',
      'tileloom variant verify assign/cuda-grid-fp64@1 --device GPU-8f6e3c1a',
    ],
    run: async ({ io, output }, [id], options) => {
      const folder = textOf(options, 'corpus');
      const corpus = folder === undefined ? defaultCorpus() : resolve(io.cwd, folder);
      const variants = id === undefined ? allVariants() : [requireVariant(id)];
      const deviceId = textOf(options, 'device');
      const imagesDir = homePaths(io.env).images;
      const device = deviceId === undefined ? null : { deviceId, imagesDir };
      const verdicts = await verifyVariants(variants, corpus, device, output.note);
      const agrees = verdicts.every((verdict) => verdict.state !== 'wrong');
      output.document('tileloom.cli.variant-verify/1', { corpus, agrees, verdicts }, () =>
        renderVerdicts(verdicts),
      );
      return agrees ? EXIT.ok : EXIT.unexpected;
    },
  });
}

/** The corpus lies beside the sources; the published package does not carry its megabytes. */
function defaultCorpus(): string {
  const corpus = join(packageRoot(), 'tests', 'fixtures', 'corpus');
  if (existsSync(corpus)) {
    return corpus;
  }
  throw new CliError(
    'CLI_USAGE',
    'the conformance corpus is not part of this installation: expected --corpus FOLDER, got none; ' +
      'take tests/fixtures/corpus of the sources',
  );
}

function renderVerdicts(verdicts: readonly Verdict[]): string {
  const table = formatTable(
    ['variant', 'verdict', 'orientations', 'points', 'sums', 'wrong', ''],
    verdicts.map((verdict) => [
      verdict.variant,
      verdict.state,
      formatCount(verdict.checked.orientation),
      formatCount(verdict.checked.points),
      formatCount(verdict.checked.sums),
      formatCount(verdict.failed),
      verdict.why ?? '',
    ]),
  );
  const failures = verdicts.flatMap((verdict) => [
    ...verdict.failures.map(
      (failure) => `${verdict.variant}: ${failure.check} ${failure.id}: ${failure.message}`,
    ),
    ...(verdict.failed > verdict.failures.length
      ? [`${verdict.variant}: and ${formatCount(verdict.failed - verdict.failures.length)} more`]
      : []),
  ]);
  return failures.length === 0 ? table : `${table}\n\n${failures.join('\n')}`;
}

function allVariants(): readonly VariantSpec[] {
  return REGISTRY.operations.flatMap((operation) => operation.variants);
}

function requireVariant(id: string): VariantSpec {
  const variants = allVariants();
  const found = variants.find((variant) => variant.id === id);
  if (found !== undefined) {
    return found;
  }
  const near = nearestName(
    id,
    variants.map((variant) => variant.id),
  );
  throw new CliError(
    'CLI_USAGE',
    `variant ${id} is unknown: expected one of variant list, got ${JSON.stringify(id)}` +
      (near === null ? '; see tileloom variant list' : `; did you mean ${near}?`),
  );
}

function renderVariant(variant: VariantSpec): string {
  const { throughput, memory } = variant;
  return [
    variant.summary,
    '',
    formatFacts([
      ['variant', variant.id],
      ['runtime', variant.runtime],
      ['numeric class', variant.numericClass],
      ['kernel class', variant.kernelClass],
      ['precision', variant.precisionModes.join(', ')],
      ['boundary rules', variant.boundaries.join(', ')],
      ['overlap rules', variant.overlaps.join(', ')],
      ['families', variant.geometryFamilies.join(', ')],
      [
        'needs',
        [variant.isa.join(' '), variant.needsIndex ? 'grid index' : 'raw edges'].join(' ').trim(),
      ],
      [
        'rows of a chunk',
        `${String(variant.minRows ?? 'any')} to ${String(variant.maxRows ?? 'any')}`,
      ],
      [
        'declared speed',
        `${formatShort(throughput.rowsPerSecondRandom)} rows/s random, ` +
          `${formatShort(throughput.rowsPerSecondOrdered)} ordered, a core or device`,
      ],
      [
        'declared memory',
        `${formatBytes(memory.fixedBytes)} + ${String(memory.bytesPerRow)} B a row ` +
          `+ index × ${String(memory.indexFactor)}`,
      ],
      ['symbol', `${variant.symbol} in ${variant.library}`],
      ['sources', variant.sourceDigest],
    ]),
  ].join('\n');
}
