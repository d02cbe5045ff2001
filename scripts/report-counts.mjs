// Prints the last line of a CI run, `N passed, N failed`, from Vitest's JSON report. A run that broke
// before or beside its tests counts as one failure.
import { readFileSync } from 'node:fs';

const [, , path, status] = process.argv;
let passed = 0;
let failed = 0;
try {
  const report = JSON.parse(readFileSync(path, 'utf8'));
  passed = report.numPassedTests;
  failed = report.numFailedTests;
} catch {
  console.error('no test report was written');
}
if (status !== '0' && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);
