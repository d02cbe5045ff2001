// The command of the GPU pack, also in a checkout: node bench/run.mjs gpu selfcheck|bench|info.
// Exit status: 0 good, 1 a difference or a failure, 2 a wrong command line, 4 something is missing.
//
// I1 the thread pool holds a native call for each core and slot; Node reads its size at start, so the
//    process starts itself again where it is not set.
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { runBench } from './bench.ts';
import { Missing, openLibraries, Refused } from './device.ts';
import { printInfo } from './info.ts';
import { findPlace } from './place.ts';
import { selfCheck } from './selfcheck.ts';

const HELP = `Usage: run COMMAND [options]

Commands:
  selfcheck   every CUDA variant against the exact oracle and the CPU's digests; leaks; sanitizer
    --reduced            a twentieth of the corpus and small tiles
    --without-sanitizer  leave compute-sanitizer out
    --corpus DIR         another corpus
    --out DIR            write DIR/gpu-selfcheck.json
  bench       measures the device and the host; takes minutes, 4 GB of disk and 10 GB of memory
    --out DIR            folder of records: DIR/<machine>/<date>-gpu.json
    --dry-run            every case on tiny data; nothing is recorded
    --rows N             rows of each dataset, at least 100000; 100663296 by default
    --dir DIR            where data are written; the system's folder for temporary files by default
  info        processor, driver, devices, tools

  --device N   number of the device in the driver's order; 0 by default
  --help

Exit status: 0 good, 1 a difference or a failure, 2 wrong usage, 4 something is missing on this host.
`;

const OPTIONS = {
  help: { type: 'boolean', default: false },
  device: { type: 'string', default: '0' },
  reduced: { type: 'boolean', default: false },
  'without-sanitizer': { type: 'boolean', default: false },
  corpus: { type: 'string' },
  out: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  rows: { type: 'string', default: '100663296' },
  dir: { type: 'string' },
} as const;

const USAGE = 2;
const MISSING = 4;
const POOL_EXTRA = 12;
/** The smallest shape that the planner is asked about. */
const ROWS_MIN = 100_000;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const [command = '', ...more] = positionals;
  const known = ['selfcheck', 'bench', 'info', 'load'].includes(command);
  if (values.help || (command === '' && more.length === 0)) {
    process.stdout.write(HELP);
    return values.help && (known || command === '') ? 0 : USAGE;
  }
  const [ordinal, rows] = [integerOf(values.device, 0), integerOf(values.rows, ROWS_MIN)];
  if (!known || more.length > 0) {
    const got = more.length > 0 ? more.join(' ') : command;
    return refuse(`expected one command: selfcheck, bench or info; got "${got}"`);
  }
  if (ordinal === null || rows === null) {
    return refuse(
      ordinal === null
        ? `--device is not usable: expected a whole number of at least 0, got "${values.device}"`
        : `--rows is not usable: expected a whole number of at least ${ROWS_MIN}, got "${values.rows}"`,
    );
  }
  const place = findPlace();
  if (command === 'load') {
    openLibraries(place);
    return 0;
  }
  const out = values.out ?? null;
  if (command === 'info') {
    await printInfo(place);
    return 0;
  }
  if (command === 'selfcheck') {
    const { reduced, corpus = null } = values;
    const sanitizer = !values['without-sanitizer'];
    const report = await selfCheck(place, { ordinal, reduced, sanitizer, corpus, out });
    const what = report.fake === null ? report.device.name : `a fake: ${report.fake}`;
    process.stdout.write(`${report.passed ? 'passed' : 'FAILED'} on ${what}\n`);
    return report.passed ? 0 : 1;
  }
  await runBench(place, {
    ...{ ordinal, out, rows, dryRun: values['dry-run'], folder: values.dir ?? null },
  });
  return 0;
}

function refuse(what: string): number {
  process.stderr.write(`wrong usage: ${process.argv.slice(2).join(' ')}\n${what}\n\n${HELP}`);
  return USAGE;
}

function integerOf(text: string, least: number): number | null {
  const value = /^\d+$/u.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(value) && value >= least ? value : null;
}

function restartWithPool(): number {
  const size = String(cpus().length + POOL_EXTRA);
  const environment = { ...process.env, UV_THREADPOOL_SIZE: size };
  const options = { env: environment, stdio: 'inherit' } as const;
  const words = [...process.execArgv, ...process.argv.slice(1)];
  return spawnSync(process.execPath, words, options).status ?? 1;
}

/** `load` is what the pack's `run` asks first: whether the libraries load here. */
if (process.argv[2] !== 'load' && process.env['UV_THREADPOOL_SIZE'] === undefined) {
  process.exitCode = restartWithPool();
} else {
  try {
    process.exitCode = await main();
  } catch (error) {
    const usage = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
    const known = error instanceof Missing || error instanceof Refused || usage;
    const text =
      known || !(error instanceof Error) ? String((error as Error).message) : error.stack;
    process.stderr.write(`${text}\n`);
    process.exitCode = error instanceof Missing ? MISSING : usage ? USAGE : 1;
  }
}
