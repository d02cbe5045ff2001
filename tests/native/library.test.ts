import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  encodeGeometry,
  NativeError,
  openKernels,
  type AssignOptions,
  type Layer,
  type OpenChunkOptions,
} from '../../native/index.ts';
import { writeGeometry, type Area } from './helpers/geometry.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FAULTY = join(ROOT, 'native', 'build', 'libtileloom_faulty.so');
const library = openKernels();
const folder = mkdtempSync(join(tmpdir(), 'tileloom-library-'));
const geometryPath = join(folder, 'layer.tlgeom');
const indexPath = join(folder, 'layer.tlidx');
const triangle: Area = {
  type: 'Polygon',
  coordinates: [
    [
      [0, 0],
      [8, 0],
      [0, 8],
      [0, 0],
    ],
  ],
};
const build = { geometryPath, indexPath, boundary: 'half-open', overlap: 'first' } as const;

const SYMBOLS = [
  ...['tl_abi_version', 'tl_assign__brute__fp64__scalar', 'tl_assign__grid__fp64__avx2'],
  ...['tl_assign__grid__fp64__scalar', 'tl_assign_points', 'tl_chunk_cancel', 'tl_chunk_close'],
  ...['tl_chunk_estimate', 'tl_chunk_finish', 'tl_chunk_open', 'tl_chunk_partials'],
  ...['tl_chunk_peak', 'tl_chunk_progress', 'tl_chunk_run', 'tl_cpu_features'],
  ...['tl_die_with_parent', 'tl_exact_sum', 'tl_hash128', 'tl_index_build', 'tl_layer_close'],
  ...['tl_layer_open', 'tl_lock_acquire', 'tl_lock_release', 'tl_orientation_sign'],
  ...['tl_rows_take'],
];

beforeAll(async () => {
  const script = join(ROOT, 'scripts', 'build-native.mjs');
  execFileSync(process.execPath, [script, 'test-kernels'], { stdio: 'ignore' });
  writeGeometry(geometryPath, [triangle]);
  await library.buildIndex(build);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof NativeError) {
      return error.code;
    }
    throw error;
  }
  return 'no error';
}

function nmSymbols(args: readonly string[]): string[] {
  const text = execFileSync('nm', args, { encoding: 'utf8' });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').at(-1) ?? '');
}

describe('the kernel library', () => {
  test('exports exactly the functions of the ABI', () => {
    expect(nmSymbols(['-D', '--defined-only', library.path]).toSorted()).toEqual(SYMBOLS);
  });

  test('declares every exported function in its header', () => {
    const header = readFileSync(join(ROOT, 'native', 'include', 'tileloom_kernels.h'), 'utf8');
    const declared = [...header.matchAll(/TL_API int (tl_\w+)\(/g)].map((match) => match[1]);
    expect(new Set(declared)).toEqual(new Set(SYMBOLS));
    expect(declared).toHaveLength(SYMBOLS.length);
  });

  test('shares no code between the AVX2 file and others', () => {
    const object = join(ROOT, 'native', 'build', 'kernels', 'assign', 'assign_grid_avx2.o');
    const weak = execFileSync('nm', [object], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => / [WVu] /.test(line) && !line.includes('DW.ref.'));
    expect(weak).toEqual([]);
  });

  test('says what it is', () => {
    expect(library.image).toMatch(/^[0-9a-f]{64}$/);
    const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
    const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(' '));
    expect(library.isa).toEqual(['avx2', 'fma', 'avx512f'].filter((name) => flags.has(name)));
  });

  test('is missing with a message that says how to build it', () => {
    expect(() => openKernels({ path: join(folder, 'none.so') })).toThrow(/build-native/);
    writeFileSync(join(folder, 'text.so'), 'not a library');
    expect(codeOf(() => openKernels({ path: join(folder, 'text.so') }))).toBe('LIBRARY_UNUSABLE');
  });
});

describe('buildIndex and openLayer', () => {
  test('give equal bytes for equal input', async () => {
    const again = join(folder, 'again.tlidx');
    const info = await library.buildIndex({ ...build, indexPath: again });
    expect(readFileSync(again).equals(readFileSync(indexPath))).toBe(true);
    expect(info).toMatchObject({ kind: 'grid', bytes: readFileSync(again).byteLength });
    const layer = library.openLayer({ geometryPath, indexPath: again });
    expect(layer.index?.digest).toBe(info.digest);
    layer.close();
    expect(codeOf(() => library.openChunk(chunkOf(layer)))).toBe('BAD_STATE');
  });

  test('refuse every index with a changed, missing or additional byte', () => {
    const good = readFileSync(indexPath);
    const bad = join(folder, 'bad.tlidx');
    const open = (): string => codeOf(() => library.openLayer({ geometryPath, indexPath: bad }));
    for (let at = 0; at < good.byteLength; at += at < 300 ? 1 : 97) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      const padding = good[at] === 0 && at >= 240 && at < 256;
      writeFileSync(bad, bytes);
      expect(padding || open() === 'BAD_INDEX', `byte ${at}`).toBe(true);
    }
    for (const size of [0, 7, 255, good.byteLength - 1]) {
      writeFileSync(bad, good.subarray(0, size));
      expect(open(), `${size} bytes`).toBe('BAD_INDEX');
    }
    writeFileSync(bad, Buffer.concat([good, Buffer.alloc(1)]));
    expect(open()).toBe('BAD_INDEX');
  });

  test('refuse an index of another geometry or of another rule', async () => {
    const other = join(folder, 'other.tlgeom');
    writeGeometry(other, [
      {
        ...triangle,
        coordinates: [
          [
            [0, 0],
            [8, 0],
            [0, 9],
            [0, 0],
          ],
        ],
      },
    ]);
    expect(codeOf(() => library.openLayer({ geometryPath: other, indexPath }))).toBe('BAD_INDEX');
    const layer = library.openLayer({ geometryPath, indexPath });
    const options: AssignOptions = {
      ...{ layer, symbol: 'tl_assign__grid__fp64__scalar', boundary: 'covers', overlap: 'first' },
      wrap: false,
    };
    const one = Float64Array.of(1);
    await expect(library.assignPoints(options, one, one)).rejects.toThrow(/another boundary/);
    layer.close();
  });

  test('refuse geometry files that are damaged', () => {
    const good = encodeGeometry([triangle]);
    const bad = join(folder, 'bad.tlgeom');
    const open = (): string =>
      codeOf(() => library.openLayer({ geometryPath: bad, indexPath: null }));
    const changes: [string, (view: DataView) => void][] = [
      ['magic', (view) => view.setUint8(0, 0)],
      ['version', (view) => view.setUint32(8, 2, true)],
      ['features', (view) => view.setBigUint64(16, 1n << 40n, true)],
      ['vertices', (view) => view.setBigUint64(40, 5n, true)],
      ['offset of x', (view) => view.setBigUint64(72, 1n << 60n, true)],
      ['misaligned', (view) => view.setBigUint64(72, 129n, true)],
      ['feature parts', (view) => view.setUint32(128, 9, true)],
      ['NaN vertex', (view) => view.setFloat64(Number(view.getBigUint64(72, true)), NaN, true)],
      ['open ring', (view) => view.setFloat64(Number(view.getBigUint64(72, true)), 3, true)],
    ];
    for (const [name, change] of changes) {
      const bytes = good.slice();
      change(new DataView(bytes.buffer));
      writeFileSync(bad, bytes);
      expect(open(), name).toBe('BAD_GEOMETRY');
    }
    writeFileSync(bad, '');
    expect(open()).toBe('BAD_GEOMETRY');
    rmSync(bad);
    expect(open()).toBe('IO_ERROR');
  });
});

function chunkOf(layer: Layer): OpenChunkOptions {
  return {
    layer,
    symbol: 'tl_assign__brute__fp64__scalar',
    boundary: 'half-open',
    overlap: 'first',
    wrap: false,
    measures: 0,
    aggregate: false,
    rows: false,
  };
}

describe('external libraries', () => {
  const one = Float64Array.of(1, 9, Number.NaN);
  const options = (symbol: string): AssignOptions => ({
    ...{ layer: library.openLayer({ geometryPath, indexPath: null }), symbol },
    ...{ assignLibrary: FAULTY, boundary: 'half-open', overlap: 'first', wrap: false },
  });

  test('serve assign functions to this one', async () => {
    const ids = await library.assignPoints(options('tl_assign__slow__fp64__scalar'), one, one);
    expect([...ids]).toEqual([0, -1, -2]);
    expect(openKernels({ path: FAULTY }).image).toMatch(/^[0-9a-f]{64}$/);
  });

  test('are refused without the symbol or the version', () => {
    const { layer } = options('');
    const chunk = { ...chunkOf(layer), assignLibrary: FAULTY };
    const open = (changes: object) => codeOf(() => library.openChunk({ ...chunk, ...changes }));
    expect(open({ symbol: 'tl_assign__none__fp64__scalar' })).toBe('NO_SUCH_SYMBOL');
    expect(open({ symbol: 'system' })).toBe('NO_SUCH_SYMBOL');
    expect(open({ assignLibrary: join(folder, 'none.so') })).toBe('NO_SUCH_SYMBOL');
    expect(open({ assignLibrary: null, symbol: 'tl_assign__slow__fp64__scalar' })).toBe(
      'NO_SUCH_SYMBOL',
    );
  });

  test('cannot make the accumulators write out of bounds', async () => {
    const data = join(folder, 'points.bin');
    writeFileSync(data, new Uint8Array(Float64Array.of(1, 2, 1, 2).buffer));
    const column = { type: 'float64', validityOffset: null, xxh3: null } as const;
    const tile = {
      ...{ path: data, tile: 3, rows: 2, measures: [] },
      ...{
        x: { ...column, name: 'x', dataOffset: 0 },
        y: { ...column, name: 'y', dataOffset: 16 },
      },
    };
    for (const [symbol, code] of [
      ['tl_assign__wild__fp64__scalar', 'KERNEL_FAILED'],
      ['tl_assign__odd__fp64__scalar', 'KERNEL_FAILED'],
      ['tl_assign__oom__fp64__scalar', 'OUT_OF_MEMORY'],
    ]) {
      const chunk = library.openChunk({
        ...chunkOf(options('').layer),
        ...{ symbol: symbol as string, assignLibrary: FAULTY, aggregate: true },
      });
      await expect(chunk.runBatch([tile])).rejects.toMatchObject({ code, details: { tile: 3 } });
      chunk.close();
    }
  });
});

describe('lockFile and dieWithParent', () => {
  test('let one holder in and the next after a release', async () => {
    const path = join(folder, 'device.lock');
    const first = await library.lockFile(path, 0);
    await expect(library.lockFile(path, 60)).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    const waiting = library.lockFile(path, 5000);
    first.release();
    first.release();
    (await waiting).release();
  });

  test('kill the child when its parent is killed', async () => {
    const child = `
      import koffi from 'koffi';
      const lib = koffi.load(${JSON.stringify(library.path)});
      const status = lib.func('int tl_die_with_parent(int32_t parent)')(process.ppid);
      process.stdout.write(String(process.pid) + ' ' + status + '\\n');
      setInterval(() => {}, 1000);`;
    const parent = `
      import { spawn } from 'node:child_process';
      spawn(process.execPath, ['--input-type=module', '-e', ${JSON.stringify(child)}],
        { stdio: ['ignore', 'inherit', 'inherit'] });
      setInterval(() => {}, 1000);`;
    const started = spawn(process.execPath, ['--input-type=module', '-e', parent], {
      ...{ cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] as const },
    });
    const [line] = (await once(started.stdout as NodeJS.EventEmitter, 'data')) as [Buffer];
    const [pid, status] = line.toString().trim().split(' ').map(Number);
    expect(status).toBe(0);
    started.kill('SIGKILL');
    await once(started, 'exit');
    const isAlive = (): boolean => spawnSync('kill', ['-0', String(pid)]).status === 0;
    for (let waited = 0; waited < 100 && isAlive(); waited += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(isAlive()).toBe(false);
  });
});
