// Owns the building of small C++ programs that one test needs.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const INCLUDE = join(import.meta.dirname, '..', '..', '..', 'native', 'include');
const FLAGS = ['-O1', '-std=c++17', '-Wall', '-Wextra', '-Werror', `-I${INCLUDE}`];

/** @returns the path of the program */
export function buildProgram(source: string, output: string): string {
  const compiler = process.env['CXX'] ?? 'g++';
  execFileSync(compiler, [...FLAGS, '-o', output, source, '-ldl', '-lpthread'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return output;
}
