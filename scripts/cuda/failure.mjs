// Owns how building kernels fails: a code, what is wrong, what to do.
import { spawnSync } from 'node:child_process';

export class CudaBuildError extends Error {
  /**
   * @param {string} code
   * @param {...string} lines
   */
  constructor(code, ...lines) {
    super(lines.join('\n'));
    this.code = code;
    /** Exit status of the process. */
    this.status = code === 'CUDA_USAGE' ? 2 : 1;
  }
}

/**
 * Standard output and error of a program.
 *
 * @param {string} tool
 * @param {readonly string[]} args
 * @param {string} what for the message
 */
export function run(tool, args, what) {
  const result = spawnSync(tool, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (result.error !== undefined || result.status !== 0) {
    const reason = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
    const end = result.status ?? result.signal ?? 'no status';
    throw new CudaBuildError('CUDA_BUILD_FAILED', `${what} ended with ${end}:`, reason);
  }
  return `${result.stdout}${result.stderr}`;
}
