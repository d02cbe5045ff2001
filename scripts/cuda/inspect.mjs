// Owns what may be in the kernels' machine code: reads the assembler's report and the disassembly of
// an image, and holds them against the table in native/cuda/tuning.hpp.
//
// I1 a kernel without a row, a row without a kernel and a number that no report tells are refused.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './failure.mjs';

const ROW = /^\/\/ (tl_\w+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$/gmu;
const METRICS = ['registers', 'spillBytes', 'localBytes', 'fused'];
// DFMA, FFMA (FFMA2 of pairs, FHFMA of halves) and HFMA2 round once for two operations, also in the
// uniform datapath, whose names begin with U; DMMA, HMMA and their kin for many. IMAD and IMMA are of
// integers. HFMA2 over the zero register is how the compiler loads a constant.
const FUSED = /\b(?:U?(?:[DF]FMA|FHFMA|HFMA2(?!\S* \w+, -RZ, RZ,))|(?:UTC)?[DHOQ]G?MMA).*/gu;
// Without a rounding of its own an addition or a product of PTX may be fused by whoever assembles it:
// the driver, on a device newer than the image. A `mad` of floats is fused whatever its rounding.
const FUSED_PTX =
  /\b(?:fma\.|mad\.(?:\w+\.)*f(?:32|64)\b|(?:add|sub|mul)\.(?:ftz\.)?(?:sat\.)?b?f(?:16|32|64)(?:x2)?\b).*/gu;

/** Limits by kernel. */
export function declaredLimits(native) {
  const text = readFileSync(join(native, 'cuda', 'tuning.hpp'), 'utf8');
  const rows = [...text.matchAll(ROW)].map(([, name, ...numbers]) => [
    name,
    Object.fromEntries(METRICS.map((metric, index) => [metric, Number(numbers[index])])),
  ]);
  return new Map(rows);
}

/**
 * Facts by kernel of one architecture's image; null where no report tells.
 *
 * @param assembler what ptxas said; null for an image that was made elsewhere
 */
export function inspectImage(cuobjdump, image, assembler) {
  const kernels = new Map();
  const usage = run(cuobjdump, ['--dump-resource-usage', image], 'cuobjdump');
  for (const [, name, registers, stack, local] of usage.matchAll(
    /Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)/gu,
  )) {
    const localBytes = Number(local) + Number(stack);
    kernels.set(name, { registers: Number(registers), spillBytes: null, localBytes, fused: null });
  }
  const spills =
    /Compiling entry function '(\w+)'[\s\S]*?(\d+) bytes spill stores, (\d+) bytes spill loads/gu;
  for (const [, name, stores, loads] of (assembler ?? '').matchAll(spills)) {
    const kernel = kernels.get(name);
    if (kernel !== undefined) kernel.spillBytes = Math.max(Number(stores), Number(loads));
  }
  const code = run(cuobjdump, ['--dump-sass', image], 'cuobjdump');
  for (const part of code.split(/Function : /u).slice(1)) {
    const kernel = kernels.get(/^\w+/u.exec(part)?.[0] ?? '');
    if (kernel !== undefined) kernel.fused = part.match(FUSED)?.length ?? 0;
  }
  return kernels;
}

/** Facts by kernel of PTX, which has no registers yet. */
export function inspectPtx(text) {
  const parts = text.split(/\.entry /u).slice(1);
  return new Map(
    parts.map((part) => [
      /^\w+/u.exec(part)?.[0] ?? '',
      { fused: part.match(FUSED_PTX)?.length ?? 0 },
    ]),
  );
}

/** Lines about kernels that are not as the table allows, in the metrics given. */
export function judge(where, kernels, limits, metrics = METRICS) {
  const unknown = [...kernels.keys()]
    .filter((name) => !limits.has(name))
    .map((name) => `${where} ${name}: expected a row in the table, got none`);
  const lacking = [...limits.keys()]
    .filter((name) => !kernels.has(name))
    .map((name) => `${where} ${name}: expected a kernel of this name, got none`);
  const excessive = [...limits].flatMap(([name, limit]) =>
    metrics
      .map((metric) => ({ metric, got: kernels.get(name)?.[metric], most: limit[metric] }))
      .filter(({ got, most }) => got !== undefined && (got === null || got > most))
      .map(
        ({ metric, got, most }) =>
          `${where} ${name}: ${metric}: expected at most ${most}, got ${got ?? 'no report'}`,
      ),
  );
  return [...unknown, ...lacking, ...excessive];
}
