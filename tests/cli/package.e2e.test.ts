// The published shape: what `npm pack` would publish, unpacked into an empty folder beside nothing but
// its declared dependencies, works as a command and as a library. Nothing is downloaded: dependencies
// are linked to the installed ones, so that an import which is not declared cannot be resolved.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Of it, the device library takes 0.2 MiB and the kernels for seven architectures 0.1 MiB. */
const ARCHIVE_BYTES_MAX = 2.5 * 1024 * 1024;

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

let folder = '';
let installed = '';
let packed: Packed = { filename: '', size: 0, files: [] };

/** npm answers with a list, newer ones with an object by name. */
function pack(): Packed {
  const words = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const answer = execFileSync('npm', words, { cwd: ROOT, encoding: 'utf8', stdio: 'pipe' });
  return Object.values(JSON.parse(answer) as Record<string, Packed>)[0] ?? packed;
}

/** Puts the package and its declared dependencies where `npm install` would. */
function install(): void {
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '.bin'), { recursive: true });
  execFileSync('tar', ['xzf', join(folder, packed.filename), '-C', folder]);
  installed = join(modules, 'tileloom');
  cpSync(join(folder, 'package'), installed, { recursive: true });
  rmSync(join(folder, 'package'), { recursive: true });
  // npm makes commands executable when it installs them.
  chmodSync(join(installed, 'dist', 'cli', 'main.js'), 0o755);
  symlinkSync('../tileloom/dist/cli/main.js', join(modules, '.bin', 'tileloom'));
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(manifest.dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
}

function tileloom(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const { address, namespace } = inject('temporal');
  const { status, stdout, stderr } = spawnSync(
    join(folder, 'node_modules', '.bin', 'tileloom'),
    words,
    {
      cwd: folder,
      encoding: 'utf8',
      env: {
        ...process.env,
        NO_COLOR: '1',
        TILELOOM_HOME: join(folder, 'home'),
        TEMPORAL_ADDRESS: address,
        TEMPORAL_NAMESPACE: namespace,
      },
    },
  );
  return { code: status, stdout, stderr };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-package-'));
  packed = pack();
  install();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('the package', () => {
  test('holds the build, the kernels and the documents, and nothing of tests or benchmarks', () => {
    const paths = packed.files.map(({ path }) => path);
    for (const path of [
      ...['dist/cli/main.js', 'dist/index.js', 'dist/index.d.ts', 'dist/workflow-bundle.js'],
      ...['native/Makefile', 'native/include/tileloom_kernels.h', 'scripts/build-native.mjs'],
      ...['native/build/libtileloom_cpu.so', 'native/build/libtileloom_cuda.so'],
      ...['native/build/libtileloom.json', 'native/cuda/kernels.cu', 'native/cuda/embedded.inc'],
      ...['scripts/build-cuda.mjs', 'scripts/cuda/tools.mjs'],
      ...['README.md', 'LICENSE', 'CHANGELOG.md', 'docs/cli.md'],
    ]) {
      expect(paths).toContain(path);
    }
    const foreign = /(^|\/)(tests?|bench|coverage|\.ci)\/|\.test\.|faulty|\.map$|\.o$|\.tgz$/;
    expect(paths.filter((path) => foreign.test(path) && !path.endsWith('exports.map'))).toEqual([]);
    expect(paths.filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))).toEqual([]);
    expect(packed.size).toBeLessThan(ARCHIVE_BYTES_MAX);
  });

  test('keeps its prebuilt kernels where there is no compiler, whatever the times of its files', () => {
    const libraries = ['libtileloom_cpu.so', 'libtileloom_cuda.so'].map((name) =>
      join(installed, 'native', 'build', name),
    );
    const date = new Date('1985-10-26T08:15:00Z');
    for (const { path } of packed.files) {
      utimesSync(join(installed, path), date, date);
    }
    const built = spawnSync(process.execPath, [join(installed, 'scripts', 'build-native.mjs')], {
      encoding: 'utf8',
      env: { PATH: join(folder, 'no-such-folder') },
    });
    expect(built).toMatchObject({ status: 0, stderr: '' });
    expect(libraries.map((library) => statSync(library).mtime)).toEqual([date, date]);
  });

  test.each(['libtileloom_cpu.so', 'libtileloom_cuda.so'])(
    'names what is missing when %s does not fit and there is no compiler',
    (library) => {
      const copy = join(folder, `damaged-${library}`);
      cpSync(installed, copy, { recursive: true });
      writeFileSync(join(copy, 'native', 'build', library), 'no library');
      const built = spawnSync(process.execPath, [join(copy, 'scripts', 'build-native.mjs')], {
        encoding: 'utf8',
        env: { PATH: join(folder, 'no-such-folder') },
      });
      expect(built.status).toBe(1);
      expect(built.stderr).toContain('NATIVE_TOOLS_MISSING');
      expect(built.stderr).toContain('apt-get install');
    },
  );
});

describe('the installed command', () => {
  test('tells its version', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(tileloom('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  test('finds itself healthy', () => {
    const { code, stdout } = tileloom('doctor', '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ healthy: true });
    expect(code).toBe(0);
  });

  test('runs the demo', () => {
    const { code, stdout, stderr } = tileloom('demo', '--rows', '200_000', '-o', 'json');
    expect(code, stderr).toBe(0);
    const { runs } = JSON.parse(stdout) as { runs: { digest: string; map: string }[] };
    expect(runs.map(({ digest }) => /^[0-9a-f]{64}$/.test(digest))).toEqual([true, true]);
    expect(runs.every(({ map }) => existsSync(map))).toBe(true);
  });

  test('asks for a corpus, which it does not carry', () => {
    const { code, stderr } = tileloom('variant', 'verify');
    expect(stderr).toContain('--corpus');
    expect(code).toBe(2);
  });
});

describe('the quick start of the installed command', () => {
  const file = (): string => join(installed, 'dist', 'cli', 'quick-start.bin');
  const loads = (...line: string[]): string => {
    const module = join(installed, 'dist', 'cli', 'quick-start.js');
    const code = `import { loadQuickly } from ${JSON.stringify(module)};
console.log(loadQuickly(${JSON.stringify(line)}) !== null);`;
    return execFileSync(process.execPath, ['--input-type=module', '-e', code], {
      encoding: 'utf8',
    }).trim();
  };

  test('has a script for operators, which another Node.js may compile anew', () => {
    const build = join(installed, 'scripts', 'build-quick-start.mjs');
    execFileSync(process.execPath, [build, 'cache'], { stdio: 'pipe' });
    expect(loads('run', 'pause', 'x')).toBe('true');
    expect(loads('pin', 'set', 'x')).toBe('true');
    expect(loads('run', 'pause', 'x', '--verbose')).toBe('false');
    expect(loads('run', 'start', 'x')).toBe('false');
  });

  test('says the same with the script, with half of it, and without it', () => {
    const whole = tileloom('run', 'pause', 'nobody', '-o', 'json');
    expect(whole).toMatchObject({ code: 2, stdout: '' });
    expect(JSON.parse(whole.stderr)).toMatchObject({ code: 'CLI_RUN_UNKNOWN' });
    writeFileSync(file(), readFileSync(file()).subarray(0, 400_000));
    expect(loads('run', 'pause', 'x')).toBe('false');
    expect(tileloom('run', 'pause', 'nobody', '-o', 'json')).toEqual(whole);
    rmSync(file());
    expect(tileloom('run', 'pause', 'nobody', '-o', 'json')).toEqual(whole);
  });
});

describe('the installed library', () => {
  const source = `import { definePipeline, parseSpec, plan, specDigest, type PipelineInput } from 'tileloom';
const pipeline: PipelineInput = {
  apiVersion: 'tileloom/v1',
  kind: 'Pipeline',
  name: 'typed',
  source: { dataset: '/data/points' },
  layers: { areas: { file: '/data/areas.geojson', id: 'id' } },
  steps: [{ assign: { layer: 'areas', as: 'area' } }, { aggregate: { by: 'area', measures: ['count'] } }],
  sink: { path: '/data/out' },
};
const read = parseSpec(JSON.stringify(pipeline), { file: 'typed.json' }).spec;
console.log(specDigest(read) === specDigest(definePipeline(pipeline)), typeof plan);
`;

  test('type-checks under strict settings', () => {
    writeFileSync(join(folder, 'use.ts'), source);
    const words = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', 'use.ts'];
    const { status, stdout } = spawnSync(join(ROOT, 'node_modules', '.bin', 'tsc'), words, {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stdout).toBe('');
    expect(status).toBe(0);
  });

  test('runs', () => {
    const plain = source.replaceAll(/: PipelineInput|, type PipelineInput/g, '');
    writeFileSync(join(folder, 'use.mjs'), plain);
    const answer = execFileSync(process.execPath, ['use.mjs'], { cwd: folder, encoding: 'utf8' });
    expect(answer).toBe('true function\n');
  });
});
