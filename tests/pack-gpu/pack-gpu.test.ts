// The GPU pack on a host without Node, in front of the fake driver: what this proves is that the pack runs,
// that it tells good from bad, and that nothing a fake did becomes a record.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commitOf } from '../../bench/gpu/commit.ts';
import type { SelfCheckReport } from '../../bench/gpu/selfcheck.ts';
import { fakeGpus, type FakeGpus } from '../native/helpers/fake-gpu.ts';
import { filesOf, makePack, ROOT, type Pack } from './pack.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
/** Seconds on quiet cores; a busy machine may take many times that. */
const PATIENCE = { timeout: 240_000 };
const QUICK = ['selfcheck', '--reduced', '--without-sanitizer'];
let pack: Pack;
let gpu: FakeGpus;
let commit = '';

beforeAll(() => {
  commit = commitOf(ROOT);
  pack = makePack();
  gpu = fakeGpus({ devices: [{ memoryBytes: 2 * GIB }] });
}, 300_000);
afterAll(() => {
  pack.remove();
  gpu.remove();
});

const at = (name: string): string => join(pack.folder, name);

describe('the archive', () => {
  test('is as small as it must be, packed and unpacked', () => {
    const unpacked = execFileSync('du', ['-sb', pack.unpacked], { encoding: 'utf8' });
    expect(pack.archiveBytes).toBeLessThanOrEqual(60 * MIB);
    expect(Number.parseInt(unpacked, 10)).toBeLessThanOrEqual(250 * MIB);
    expect(pack.told).toMatch(/ MiB of 60, unpacked .* MiB of 250/u);
  });

  test('names the license of every package in it', () => {
    const text = readFileSync(join(pack.unpacked, 'app', 'LICENSES.txt'), 'utf8');
    expect(text).toMatch(/^apache-arrow [\d.]+: Apache-2.0$/mu);
    expect(text).toMatch(/^topojson-client [\d.]+: ISC$/mu);
    expect(text).toMatch(/^us-atlas [\d.]+: ISC\s+Copyright/mu);
    expect(text).toMatch(/^world-atlas [\d.]+: ISC\s+Copyright/mu);
    expect(existsSync(join(pack.unpacked, 'app', 'node_modules', 'koffi', 'LICENSE.txt'))).toBe(
      true,
    );
  });

  test('holds the license of its Node, or says where it is published', () => {
    const readme = readFileSync(join(pack.unpacked, 'README.txt'), 'utf8');
    const copied = join(pack.unpacked, 'bin', 'LICENSE');
    if (existsSync(copied)) {
      expect(readFileSync(copied, 'utf8')).toMatch(/V8[^]*OpenSSL|OpenSSL[^]*V8/u);
      expect(readme).toContain('built into it: bin/LICENSE');
    } else {
      const published = `https://github.com/nodejs/node/blob/${process.version}/LICENSE`;
      expect(readme).toContain(`built into it: ${published}`);
    }
  });

  test('names its commit as records do', () => {
    const text = readFileSync(join(pack.unpacked, 'app', 'pack.json'), 'utf8');
    expect((JSON.parse(text) as { commit: string }).commit).toBe(commit);
  });
});

describe('run', PATIENCE, () => {
  test('shows its help, and refuses what it does not know', async () => {
    const help = await pack.run(['--help']);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain('--dry-run');
    const unknown = await pack.run(['benchmark']);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('wrong usage: benchmark');
    const option = await pack.run(['bench', '--fast']);
    expect(option.code).toBe(2);
    expect(option.stderr).toContain('--fast');
    for (const [words, what] of [
      [['--rows', '99999'], '--rows is not usable: expected a whole number of at least 100000'],
      [['--device', ''], '--device is not usable: expected a whole number of at least 0, got ""'],
    ] as const) {
      const number = await pack.run(['bench', '--dry-run', ...words]);
      expect(number.code).toBe(2);
      expect(number.stderr).toContain(`wrong usage: bench --dry-run ${words.join(' ')}\n${what}`);
    }
  });

  test('refuses folders that cannot serve before it works', async () => {
    const nowhere = at('nowhere');
    for (const [words, what] of [
      [[...QUICK, '--corpus', nowhere], `got ${nowhere} without orientation.jsonl`],
      [[...QUICK, '--out', '/dev/null/x'], '--out cannot be used'],
      [['bench', '--dry-run', '--dir', nowhere], `got ${nowhere} (ENOENT)`],
    ] as const) {
      const found = await pack.run(words, { environment: gpu.environment });
      expect(found.code).toBe(4);
      expect(found.stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(found.stderr).toContain(what);
      expect(found.stdout).not.toContain('corpus');
    }
  });

  test('says which driver is missing and ends with status 4', async () => {
    const environment = { TILELOOM_CUDA_DRIVER: at('libcuda.so.1') };
    for (const words of [QUICK, ['bench', '--dry-run']]) {
      const { code, stderr } = await pack.run(words, { environment });
      expect(code).toBe(4);
      expect(stderr).toContain(`expected ${at('libcuda.so.1')}`);
    }
  });

  test('says that a device is missing where the driver knows none', async () => {
    const { code, stderr } = await pack.run([...QUICK, '--device', '3'], {
      environment: gpu.environment,
    });
    expect(code).toBe(4);
    expect(stderr).toContain('device 3 is missing: the driver knows 1');
  });

  test('describes the host, and calls a fake a fake', async () => {
    const { code, stdout } = await pack.run(['info'], { environment: gpu.environment });
    expect(code).toBe(0);
    expect(stdout).toContain('Fake GPU 0');
    expect(stdout).toContain('FAKE');
    expect(stdout).toContain('CUDA 13.0, release not known: nvidia-smi: is not on PATH');
  });

  test('tells the release of the driver', async () => {
    const path = [program('nvidia-smi', '[ "$1" = --query-gpu=driver_version ] && echo 580.65.06')];
    const { stdout } = await pack.run(['info'], { environment: gpu.environment, path });
    expect(stdout).toContain('CUDA 13.0, release 580.65.06');
  });
});

describe('run where the libraries do not load', PATIENCE, () => {
  let broken = '';
  beforeAll(() => {
    broken = at('broken');
    cpSync(pack.unpacked, broken, { recursive: true });
    for (const name of ['libtileloom_cpu.so', 'libtileloom_cuda.so']) {
      const library = join(broken, 'app', 'native', 'build', name);
      // As if built for a glibc that is yet to come.
      const text = readFileSync(library, 'latin1').replaceAll(/GLIBC_2\.\d\d/gu, 'GLIBC_2.99');
      expect(text).toContain('GLIBC_2.99');
      writeFileSync(library, text, 'latin1');
    }
  });

  test('says so, and what it would need to build them', async () => {
    const { code, stderr } = await pack.run(['info'], { unpacked: broken });
    expect(code).toBe(4);
    expect(stderr).toContain("version `GLIBC_2.99' not found");
    expect(stderr).toContain('make is missing');
  });

  test('builds them with make and g++ in the cache of the user, and loads them', async () => {
    const tools = at('tools');
    mkdirSync(tools);
    for (const tool of ['make', 'g++', 'as', 'ld', 'mkdir', 'mv', 'cp']) {
      const found = execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim();
      execFileSync('ln', ['-s', found, join(tools, tool)]);
    }
    const environment = { ...gpu.environment, XDG_CACHE_HOME: at('cache') };
    const options = { unpacked: broken, path: [tools], environment };
    const { code, stdout, stderr } = await pack.run(['info'], options);
    expect(stderr).toContain('building them with make and g++');
    expect(code).toBe(0);
    expect(stdout).toContain(at('cache'));
    expect(stdout).toContain('Fake GPU 0');
    // The second time they are there.
    const again = await pack.run(['info'], options);
    expect(again.stdout).toBe(stdout);
  });
});

describe('selfcheck', PATIENCE, () => {
  test('passes, reports, and writes nothing into its own folder', async () => {
    const before = filesOf(pack.unpacked);
    const out = at('report');
    const options = { environment: gpu.environment };
    const words = ['selfcheck', '--reduced', '--out', out];
    const { code, stdout } = await pack.run(words, options);
    expect(stdout).toContain('compute-sanitizer is not present');
    expect(stdout).toContain('passed on a fake');
    expect(code).toBe(0);
    const text = readFileSync(join(out, 'gpu-selfcheck.json'), 'utf8');
    const report = JSON.parse(text) as SelfCheckReport;
    expect(report).toMatchObject({ schema: 'tileloom.gpu-selfcheck/1', passed: true });
    expect(report.fake).toContain('Fake GPU 0');
    for (const check of ['corpus', 'layer', 'leak']) {
      const found = report.checks.filter((one) => one.check === check);
      expect(found.length, check).toBeGreaterThan(0);
      for (const one of found) expect(one.compared, one.subject).toBeGreaterThan(0);
    }
    expect(filesOf(pack.unpacked)).toEqual(before);
    expect(gpu.leaks().at(-1)).toMatchObject({ contexts: 0, deviceBytes: 0, hostBytes: 0 });
  });

  test('fails where the sanitizer finds an error', async () => {
    const words = ['selfcheck', '--reduced', '--corpus', tinyCorpus('tiny', (line) => line)];
    const body = 'echo "ERROR SUMMARY: 1 error: $2"\n[ "$2" != racecheck ]';
    const path = [program('compute-sanitizer', body)];
    const failed = await pack.run(words, { environment: gpu.environment, path });
    expect(failed.stdout).toMatch(/clean +sanitizer +memcheck/u);
    expect(failed.stdout).toMatch(
      /FAILED +sanitizer +racecheck[^]*ERROR SUMMARY: 1 error: racecheck/u,
    );
    expect(failed.code).toBe(1);
  });

  test('fails where the oracle says something else', async () => {
    const corpus = tinyCorpus('wrong', (line) =>
      line.replaceAll(
        /"halfOpenFirst":\s*\[\s*-?\d+|"halfOpenAll":\s*\[\s*\[[^\]]*\]/gu,
        (found) => (found.includes('All') ? '"halfOpenAll":[[99]' : '"halfOpenFirst":[99'),
      ),
    );
    const options = { environment: gpu.environment };
    const { code, stdout } = await pack.run([...QUICK, '--corpus', corpus], options);
    expect(code).toBe(1);
    expect(stdout).toMatch(/DIFFERS +corpus +assign\/cuda-grid-fp64@1/u);
    expect(stdout).toContain('FAILED');
  });

  test('fails where the device answers a wrong count without an error', async () => {
    const environment = { ...gpu.environment, TILELOOM_CUDA_DRIVER: lyingDriver('counts') };
    const corpus = tinyCorpus('small', (line) => line);
    const { code, stdout } = await pack.run([...QUICK, '--corpus', corpus], { environment });
    expect(stdout).toMatch(/DIFFERS +layer/u);
    expect(code).toBe(1);
  });
});

describe('bench', PATIENCE, () => {
  test('runs every case dry, and records nothing', async () => {
    const out = at('records');
    const options = { environment: gpu.environment };
    const { code, stdout } = await pack.run(['bench', '--dry-run', '--out', out], options);
    expect(stdout).toContain('16 shapes went through; nothing is measured');
    expect(code).toBe(0);
    const kinds = ['ceiling: device', 'ceiling: link', 'resident assign,', 'resident assign + agg'];
    for (const kind of [
      ...kinds,
      'from pinned memory',
      'from files, device',
      'from files, CPU (beside cuda-grid-fp64)',
    ]) {
      expect(stdout).toContain(kind);
    }
    for (const shape of ['counties, random, cold', 'countries, tile order, resident']) {
      expect(stdout).toContain(shape);
    }
    expect(stdout).not.toMatch(/rows\/s|bytes\/s|LOSES/u);
    expect(existsSync(out)).toBe(false);
  });

  test.each(['counts', 'ids'] as const)('times nothing where %s are wrong', async (lie) => {
    const environment = { ...gpu.environment, TILELOOM_CUDA_DRIVER: lyingDriver(lie) };
    const { code, stdout, stderr } = await pack.run(['bench', '--dry-run'], { environment });
    expect(stderr).toContain('resident assign, cuda-grid-fp64, counties, random');
    expect(stderr).toContain("the device's answer differs from the CPU's");
    expect(stderr).not.toContain('    at ');
    expect(stdout).not.toContain('ran resident');
    expect(code).toBe(1);
  });

  test('refuses to record a fake, whatever it calls itself', async () => {
    const honest = await pack.run(['bench', '--out', at('records')], {
      environment: gpu.environment,
    });
    expect(honest.code).toBe(1);
    expect(honest.stderr).toContain('refused: the device calls itself "Fake GPU 0"');
    const disguised = fakeGpus({ devices: [{ memoryBytes: 2 * GIB, name: 'NVIDIA H200' }] });
    try {
      mkdirSync(at('driver'));
      const copy = join(at('driver'), 'libcuda.so.1');
      cpSync(disguised.driverPath, copy);
      const { TILELOOM_CUDA_DRIVER: _named, ...rest } = disguised.environment;
      const searched = { ...rest, LD_LIBRARY_PATH: at('driver') };
      for (const environment of [
        { ...rest, TILELOOM_CUDA_DRIVER: copy },
        { ...searched, TILELOOM_CUDA_DRIVER: 'libcuda.so.1' },
        searched,
      ]) {
        const found = await pack.run(['bench', '--out', at('records')], { environment });
        expect(found.code).toBe(1);
        expect(found.stderr).toBe(
          `refused: the driver ${copy} is the fake of the tests. ` +
            'On a fake only --dry-run makes sense; no record is written\n',
        );
      }
    } finally {
      disguised.remove();
    }
    expect(existsSync(at('records'))).toBe(false);
  });
});

describe('docs/gpu.md', PATIENCE, () => {
  const text = readFileSync(join(ROOT, 'docs', 'gpu.md'), 'utf8');
  const lines = [...text.matchAll(/^\.\/run (.+?)(?: +#.*)?$/gmu)].map(([, words = '']) => words);

  test('shows commands of the pack that exist, with options that exist', async () => {
    expect(lines.length).toBeGreaterThanOrEqual(4);
    for (const line of lines) {
      const { code, stderr } = await pack.run([...line.split(' '), '--help']);
      expect(code, `${line}\n${stderr}`).toBe(0);
    }
  });

  test('sends the reader to a README that states the least glibc', () => {
    const pathOf = (...names: string[]): string => join(pack.unpacked, ...names);
    const { glibc } = JSON.parse(readFileSync(pathOf('app', 'pack.json'), 'utf8')) as {
      glibc: { node: string; libraries: string };
    };
    expect(glibc.node).toMatch(/^2\.\d+$/u);
    const readme = readFileSync(pathOf('README.txt'), 'utf8');
    expect(readme).toContain(`glibc ${glibc.node}`);
    expect(readme).toContain(`glibc ${glibc.libraries}`);
    expect(text).toContain('`README.txt` states the least glibc');
  });
});

/** A program of the shell; returns the folder for PATH. */
function program(name: string, body: string): string {
  const folder = at(`with-${name}`);
  mkdirSync(folder);
  writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(folder, name), 0o755);
  return folder;
}

/** A driver that is linked with the fake and lies about one thing. */
function lyingDriver(lie: 'counts' | 'ids'): string {
  const liar = at(`liblying_${lie}.so`);
  const source = join(import.meta.dirname, 'lying_driver.cpp');
  const words = [`-DLYING_ABOUT_${lie.toUpperCase()}`, `-DHONEST="${gpu.driverPath}"`];
  const flags = ['-shared', '-fPIC', '-o', liar, source, '-Wl,--no-as-needed'];
  execFileSync('g++', [...words, ...flags, gpu.driverPath, '-ldl']);
  return liar;
}

/** Three cases of each file of the corpus, changed by a function. */
function tinyCorpus(name: string, change: (line: string) => string): string {
  const from = join(ROOT, 'tests', 'fixtures', 'corpus');
  const folder = at(`corpus-${name}`);
  mkdirSync(folder);
  for (const file of readdirSync(from).filter((one) => one.endsWith('.jsonl'))) {
    expect(statSync(join(from, file)).size).toBeGreaterThan(0);
    const lines = readFileSync(join(from, file), 'utf8').split('\n');
    // A reduced self-check keeps every twentieth.
    const kept = [0, 20, 40].flatMap((index) => [lines[index] ?? '', ...blankLines(19)]);
    writeFileSync(
      join(folder, file),
      kept.map((line) => (line === '' ? '' : change(line))).join('\n'),
    );
  }
  return folder;
}

const blankLines = (count: number): readonly string[] => Array.from({ length: count }, () => '');
