// Workflow code must run in Temporal's sandbox: no native code, nothing of Node, and small enough to
// load in a blink for each worker.
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';
import { expect, test } from 'vitest';

const BYTES_MAX = 4 * 1024 * 1024;

test('workflows bundle without native code or Node modules', async () => {
  const silent = (): void => undefined;
  const logger = {
    log: silent,
    trace: silent,
    debug: silent,
    info: silent,
    warn: silent,
    error: silent,
  };
  const { code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    logger,
  });
  // The bundler keeps the path of each module as a key of the bundle.
  const modules = code.match(/"\.\/[^"]+\.(?:ts|js|mjs|cjs)"/gu) ?? [];
  expect(modules.some((name) => name.includes('workflows/'))).toBe(true);
  expect(
    modules.filter((name) => /koffi|apache-arrow|\/native\/|\/datasets\//u.test(name)),
  ).toEqual([]);
  expect(code).not.toMatch(/require\("node:|from "node:/u);
  expect(code.length).toBeLessThan(BYTES_MAX);
}, 120_000);
