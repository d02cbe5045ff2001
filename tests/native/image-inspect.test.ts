// What the build of kernels finds in machine code and PTX, from texts as the tools print them: no
// compiler is needed. The instructions are what CUDA 13.0 made of probes for sm_75 to sm_120.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from './helpers/images.ts';

interface Facts {
  readonly registers?: number;
  readonly spillBytes?: number | null;
  readonly localBytes?: number;
  readonly fused: number | null;
}

interface Inspect {
  inspectImage(
    cuobjdump: string,
    image: string,
    assembler: string | null,
  ): ReadonlyMap<string, Facts>;
  inspectPtx(text: string): ReadonlyMap<string, Facts>;
}

let inspect: Inspect;
let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tileloom-inspect-'));
  const path = join(ROOT, 'scripts', 'cuda', 'inspect.mjs');
  inspect = (await import(pathToFileURL(path).href)) as Inspect;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The facts of kernels, given the instructions of each. */
function factsOf(
  kernels: Readonly<Record<string, readonly string[]>>,
  assembler: string | null = null,
): ReadonlyMap<string, Facts> {
  const names = Object.keys(kernels);
  const usage = names.map(
    (name) => ` Function ${name}:\n  REG:40 STACK:8 SHARED:0 LOCAL:16 TEXTURE:0`,
  );
  const code = names.flatMap((name) => [
    `\t\tFunction : ${name}`,
    ...(kernels[name] ?? []).map(
      (words) => `        /*0120*/                   ${words} ;      /* 0x0000000904047223 */`,
    ),
  ]);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('usage'), usage.join('\n'));
  writeFileSync(at('code'), code.join('\n'));
  const script = `#!/bin/sh\ncase "$1" in --dump-sass) cat ${at('code')} ;; *) cat ${at('usage')} ;; esac\n`;
  writeFileSync(at('cuobjdump'), script, { mode: 0o755 });
  return inspect.inspectImage(at('cuobjdump'), at('image'), assembler);
}

describe('machine code', () => {
  test.each([
    'DFMA R2, R2, UR4, R4',
    'FFMA R5, R0, 2.7182800769805908203, R5',
    '@!P0 FFMA.FTZ.SAT R9, R4, R9, R11',
    'FFMA2 R2, R2.F32x2.HI_LO, R4.F32x2.HI_LO, R6.F32x2.HI_LO',
    'UFFMA UR4, UR4, UR8, UR9',
    '@UP0 UFFMA UR4, UR4, UR5, UR6',
    'FHFMA R5, R0, R0.H1, R5',
    'HFMA2 R5, R4, R5, R0',
    'HFMA2.MMA R5, R0, R5, R4',
    'HFMA2.BF16_V2 R5, R0, R5, R4',
    'DMMA.884 R4, R4, R6, R8',
    'DMMA.8x8x4 R4, R4, R6, R8',
    'HMMA.16816.F32 R4, R4, R12, RZ',
    'QMMA.16832.F32.E4M3.E4M3 R4, R4, R8, RZ',
    'HGMMA.64x8x16.F32 R24, gdesc[UR4], RZ, !UPT, gsb0',
    'UTCHMMA gdesc[UR8], gdesc[UR10], tmem[UR6], tmem[UR4], idesc[UR5], UP0',
    'UTCQMMA gdesc[UR8], gdesc[UR10], tmem[UR6], tmem[UR4], idesc[UR5], UP0',
  ])('is fused where it holds %s', (words) => {
    const found = factsOf({ tl_plain: ['EXIT'], tl_probe: [words, 'FADD R1, R2, R3', words] });
    expect([...found].map(([name, { fused }]) => [name, fused])).toEqual([
      ['tl_plain', 0],
      ['tl_probe', 2],
    ]);
  });

  test.each([
    'DADD R2, R2, R4',
    'DMUL R2, R2, R4',
    'FADD.SAT R7, R6.reuse, R13',
    'FMUL R2, R2, R4',
    'IMAD.WIDE.U32 R4, R0, 0x8, R4',
    'UIMAD UR4, UR4, UR5, UR6',
    'IMMA.16816.S8.S8 R12, R14.ROW, R13.COL, R16',
    'UTCIMMA gdesc[UR8], gdesc[UR10], tmem[UR6], tmem[UR4], idesc[UR5], UP0',
    'HFMA2 R7, -RZ, RZ, 1.875, 0',
    'HFMA2.MMA R5, -RZ, RZ, 0, 2.384185791015625e-07',
  ])('is not fused for holding %s', (words) => {
    expect(factsOf({ tl_probe: [words] }).get('tl_probe')?.fused).toBe(0);
  });

  test('has the registers and local bytes that cuobjdump tells, and the spills of ptxas', () => {
    const assembler = [
      "ptxas info    : Compiling entry function 'tl_probe' for 'sm_90'",
      '    8 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads',
    ];
    expect([...factsOf({ tl_probe: ['EXIT'] }, assembler.join('\n'))]).toEqual([
      ['tl_probe', { registers: 40, spillBytes: 20, localBytes: 24, fused: 0 }],
    ]);
    expect(factsOf({ tl_probe: ['EXIT'] }).get('tl_probe')?.spillBytes).toBeNull();
  });
});

describe('PTX', () => {
  const fusedOf = (words: string): number | null | undefined =>
    inspect
      .inspectPtx(`.visible .entry tl_probe(\n.param .u64 p\n)\n{\n\t${words};\n\tret;\n}\n`)
      .get('tl_probe')?.fused;

  test.each([
    'fma.rn.f64 %fd4, %fd1, %fd2, %fd3',
    'fma.rn.f32.f16 %f4, %rs1, %rs2, %f3',
    'mad.f32 %f4, %f1, %f2, %f3',
    'mad.rn.f32 %f4, %f1, %f2, %f3',
    'mad.rn.ftz.sat.f32 %f4, %f1, %f2, %f3',
    'mad.ftz.f32 %f4, %f1, %f2, %f3',
    'mad.rn.f64 %fd4, %fd1, %fd2, %fd3',
    'mad.rz.f64 %fd4, %fd1, %fd2, %fd3',
    'add.f64 %fd3, %fd1, %fd2',
    'sub.sat.f32 %f3, %f1, %f2',
    'mul.ftz.sat.f32 %f3, %f1, %f2',
    'add.f32x2 %rd3, %rd1, %rd2',
    'mul.f16x2 %r3, %r1, %r2',
    'add.bf16 %rs3, %rs1, %rs2',
  ])('could be fused where it holds %s', (words) => {
    expect(fusedOf(words)).toBe(1);
    expect(fusedOf(`@%p1 ${words}`)).toBe(1);
    expect(fusedOf(`${words};\n\t${words}`)).toBe(2);
  });

  test.each([
    'add.rn.f64 %fd3, %fd1, %fd2',
    'mul.rn.ftz.f32 %f3, %f1, %f2',
    'sub.rz.f32 %f3, %f1, %f2',
    'add.s32 %r3, %r1, %r2',
    'mul.wide.u32 %rd3, %r1, 8',
    'mad.lo.s32 %r4, %r1, %r2, %r3',
    'mad.wide.u32 %rd4, %r1, %r2, %rd3',
    'mad.hi.cc.u32 %r4, %r1, %r2, %r3',
    'mad24.lo.u32 %r4, %r1, %r2, %r3',
    'cvt.rn.f64.f32 %fd1, %f1',
  ])('is not fused for holding %s', (words) => {
    expect(fusedOf(words)).toBe(0);
  });
});
