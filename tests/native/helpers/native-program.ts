// Owns the building of small C and C++ sources that one test needs: programs and stub libraries.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const INCLUDE = join(import.meta.dirname, '..', '..', '..', 'native', 'include');
const FLAGS = ['-O1', '-std=c++17', '-Wall', '-Wextra', '-Werror', `-I${INCLUDE}`];

function compile(source: string, output: string, more: readonly string[]): string {
  const compiler = process.env['CXX'] ?? 'g++';
  execFileSync(compiler, [...FLAGS, ...more, '-o', output, source, '-ldl', '-lpthread'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return output;
}

/** @returns the path of the program */
export function buildProgram(source: string, output: string): string {
  return compile(source, output, []);
}

/** @returns the path of the shared library */
export function buildStubLibrary(source: string, output: string): string {
  return compile(source, output, ['-shared', '-fPIC']);
}
