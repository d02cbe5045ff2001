import { defineConfig } from 'vitest/config';

// Two lanes by suffix: `.test.ts` is hermetic, `.e2e.test.ts` needs a real Temporal server, which its
// global setup starts from the product's own `server/` room.
//
// With TILELOOM_TEST_REPORT set, CI also gets a JSON report at that path.
const report = process.env['TILELOOM_TEST_REPORT'];

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/**/*.e2e.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['tests/**/*.e2e.test.ts'],
          fileParallelism: false,
          // A shared CI machine may stall for seconds, and these tests bound recovery in seconds: there,
          // a test fails when it fails twice. Elsewhere the first failure counts.
          retry: process.env['CI'] === undefined ? 0 : 1,
          testTimeout: 180_000,
          hookTimeout: 600_000,
          globalSetup: ['tests/e2e/global-setup.ts'],
        },
      },
    ],
  },
});
