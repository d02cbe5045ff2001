// Owns `tileloom dataset`: make, convert, inspect.
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import {
  convertDataset,
  inspectDataset,
  makeDataset,
  type ConvertOptions,
  type DatasetManifest,
  type Inspection,
} from '../../datasets/index.ts';
import {
  addGroup,
  addLeaf,
  type ActionContext,
  type OptionValues,
  type ProgramContext,
} from '../command.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { shortPath } from '../files.ts';
import { formatBytes, formatCount, formatFacts, formatTable } from '../format.ts';
import { interruptible } from '../io.ts';
import { countOption, flagOf, listOf, listOption, numberOf, textOf } from '../options.ts';
import { createProgress } from '../progress.ts';

/** Adds the group. */
export function addDatasetCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'dataset', 'Make tiled datasets and look into them.');
  addMake(group, context);
  addConvert(group, context);
  addInspect(group, context);
}

function addMake(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'make',
    summary: 'Make a synthetic dataset: points around real cities. Equal options give equal bytes.',
    args: [['<folder>', 'where to write it']],
    options: [
      countOption('--rows <n>', 'number of points (default 1_000_000)', 0),
      countOption('--seed <n>', 'seed of the generator (default 1)', 0),
      countOption('--tile-rows <n>', 'rows of a tile (default 65_536)'),
      ['--random-order', 'rows in random order instead of along a curve'],
      countOption('--threads <n>', 'threads (default: all cores)'),
      ['--force', 'replace a dataset that is there'],
    ],
    examples: [
      'tileloom dataset make ./data/points',
      'tileloom dataset make ./data/more --rows 20_000_000 --seed 7',
    ],
    run: async (action, [folder = ''], options) => {
      const out = resolve(action.io.cwd, folder);
      const threads = numberOf(options, 'threads');
      const seed = numberOf(options, 'seed');
      const tileRows = numberOf(options, 'tileRows');
      const { value, interrupted } = await withProgress(action, 'making', (signal, onProgress) =>
        makeDataset(
          {
            out,
            rows: numberOf(options, 'rows') ?? 1_000_000,
            ordered: !flagOf(options, 'randomOrder'),
            force: flagOf(options, 'force'),
            signal,
            ...(seed === undefined ? {} : { seed }),
            ...(tileRows === undefined ? {} : { tileRows }),
            ...(threads === undefined ? {} : { threads }),
          },
          onProgress,
        ),
      );
      if (interrupted || value === null) {
        return EXIT.interrupted;
      }
      printManifest(action, 'tileloom.cli.dataset-make/1', out, value);
      return undefined;
    },
  });
}

function addConvert(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'convert',
    summary: 'Convert GeoParquet, Parquet, GeoJSON or Arrow points to a tiled dataset.',
    args: [['<inputs...>', 'files or patterns; patterns expand in byte order']],
    options: [
      ['--out <folder>', 'where to write the dataset (required)'],
      ['--x <column>', 'column of x or longitude (default: found by its name)'],
      ['--y <column>', 'column of y or latitude (default: found by its name)'],
      listOption('--column <name>', 'keep this column; may be repeated (default: all numbers)'),
      ['--crs <crs>', 'CRS of the inputs, such as OGC:CRS84'],
      new Option('--order <order>', 'order of rows: as in the input, or along a curve').choices([
        'keep',
        'curve',
      ]),
      countOption('--tile-rows <n>', 'rows of a tile (default 65_536)'),
      ['--name <name>', "name of the dataset (default: the folder's)"],
      ['--force', 'replace a dataset that is there'],
    ],
    examples: [
      'tileloom dataset convert points.parquet --out ./data/points',
      "tileloom dataset convert 'in/*.parquet' --out ./data/points --x lon --y lat --order curve",
    ],
    run: async (action, inputs, options) => {
      const target = textOf(options, 'out');
      if (target === undefined) {
        throw new CliError(
          'CLI_USAGE',
          'dataset convert needs a target: expected --out FOLDER, got none; add it',
        );
      }
      const out = resolve(action.io.cwd, target);
      const { value, interrupted } = await withProgress(
        action,
        'converting',
        (signal, onProgress) =>
          convertDataset(
            { ...convertOptions(options), inputs: [...inputs], out, signal },
            onProgress,
          ),
      );
      if (interrupted || value === null) {
        return EXIT.interrupted;
      }
      printManifest(action, 'tileloom.cli.dataset-convert/1', out, value);
      return undefined;
    },
  });
}

/** Options that were given; the others are left to the converter's defaults. */
function convertOptions(options: OptionValues): Omit<ConvertOptions, 'inputs' | 'out'> {
  const columns = listOf(options, 'column');
  const given = {
    x: textOf(options, 'x'),
    y: textOf(options, 'y'),
    columns: columns.length === 0 ? undefined : columns,
    crs: textOf(options, 'crs'),
    order: textOf(options, 'order'),
    tileRows: numberOf(options, 'tileRows'),
    name: textOf(options, 'name'),
    force: flagOf(options, 'force'),
  };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Omit<ConvertOptions, 'inputs' | 'out'>;
}

interface RowProgress {
  readonly rowsDone: number;
  readonly rowsTotal: number | null;
}

/** Runs something that reports rows, with progress; Ctrl-C aborts it and removes what it wrote. */
async function withProgress<T>(
  { io, output }: ActionContext,
  label: string,
  run: (signal: AbortSignal, onProgress: (progress: RowProgress) => void) => Promise<T>,
): Promise<{ value: T | null; interrupted: boolean }> {
  const progress = createProgress(io);
  const message = 'stopping; what is written so far is removed';
  try {
    return await interruptible(io, message, async (signal) => {
      try {
        return await run(signal, ({ rowsDone, rowsTotal }) => {
          if (output.format === 'text' && rowsTotal !== null) {
            progress.update({
              label,
              done: rowsDone,
              total: rowsTotal,
              unit: 'rows',
              detail: null,
              waiting: null,
            });
          }
        });
      } catch (error) {
        if (signal.aborted) {
          return null;
        }
        throw error;
      }
    });
  } finally {
    progress.clear();
  }
}

function printManifest(
  { io, output }: ActionContext,
  schema: string,
  folder: string,
  manifest: DatasetManifest,
): void {
  const { name, crs, rows, tiles, invalidRows, bbox, files } = manifest;
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const made = { path: folder, name, crs, rows, tiles, invalidRows, bbox, bytes };
  output.document(schema, made, () =>
    formatFacts([
      ['dataset', shortPath(io, folder)],
      ['rows', `${formatCount(rows)} in ${formatCount(tiles)} tiles`],
      ['invalid', `${formatCount(invalidRows)} rows without a usable coordinate`],
      ['bytes', formatBytes(bytes)],
      ['CRS', crs],
    ]),
  );
}

function addInspect(group: Command, context: ProgramContext): void {
  addLeaf(group, context, {
    name: 'inspect',
    summary: 'Describe a dataset; with --verify, read everything and check every checksum.',
    args: [['<folder>', 'dataset folder']],
    options: [['--verify', 'recompute all checksums; exit code 3 when one differs']],
    examples: [
      'tileloom dataset inspect ./data/points',
      'tileloom dataset inspect ./data/points --verify',
    ],
    run: async (action, [folder = ''], options) => {
      const { io, output } = action;
      const verify = flagOf(options, 'verify');
      const { value, interrupted } = await withProgress(
        action,
        'verifying',
        (_signal, onProgress) => inspectDataset(resolve(io.cwd, folder), { verify }, onProgress),
      );
      if (interrupted || value === null) {
        return EXIT.interrupted;
      }
      const { schema: _, ...inspection } = value;
      output.document('tileloom.cli.dataset-inspect/1', inspection, () => renderInspection(value));
      return (value.verified?.problemCount ?? 0) > 0 ? EXIT.runFailed : undefined;
    },
  });
}

function renderInspection(inspection: Inspection): string {
  const { manifest, rowsPerTile, verified } = inspection;
  const facts = formatFacts([
    ['dataset', `${manifest.name}, ${inspection.path}`],
    ['digest', inspection.digest],
    ['CRS', `${manifest.crs}, coordinates ${manifest.coordinates.x}, ${manifest.coordinates.y}`],
    [
      'rows',
      `${formatCount(manifest.rows)}, ${formatCount(manifest.invalidRows)} without a usable coordinate`,
    ],
    [
      'tiles',
      `${formatCount(manifest.tiles)} of ${formatCount(rowsPerTile?.min ?? 0)} to ` +
        `${formatCount(rowsPerTile?.max ?? 0)} rows, ${manifest.ordered ? 'along a curve' : 'in no order'}`,
    ],
    ['bounds', manifest.bbox === null ? '-' : manifest.bbox.join(', ')],
    ['files', `${formatCount(manifest.files.length)}, ${formatBytes(inspection.bytes)}`],
    ['made by', `${manifest.provenance.tool}, ${manifest.provenance.source}`],
  ]);
  const columns = formatTable(
    ['column', 'type', 'nulls', 'NaNs', 'min', 'max'],
    manifest.columns.map((column) => [
      column.name,
      column.type,
      formatCount(column.nulls),
      formatCount(column.nans),
      String(column.min ?? '-'),
      String(column.max ?? '-'),
    ]),
  );
  const checked =
    verified === null
      ? []
      : [
          verified.problemCount === 0
            ? `every checksum matches: ${formatCount(verified.tiles)} tiles, ${formatBytes(verified.bytes)}`
            : `${formatCount(verified.problemCount)} problems`,
          ...verified.problems.map((problem) => `  ${problem.code}: ${problem.message}`),
        ];
  return [facts, '', columns, ...(checked.length === 0 ? [] : ['', ...checked])].join('\n');
}
