// Bundles the workflows into dist/workflow-bundle.js, once per build: workers load the file and need no
// bundler. The output depends on the sources and on the SDK's version alone.
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

const root = fileURLToPath(new URL('..', import.meta.url));
const compiled = `${root}dist/workflows/index.js`;
const workflowsPath = existsSync(compiled) ? compiled : `${root}workflows/index.ts`;
const quiet = () => undefined;
const logger = {
  log: quiet,
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: console.warn,
  error: console.error,
};

// The SDK needs a source map; without sources and with relative names it holds no path of this machine.
const { code } = await bundleWorkflowCode({
  workflowsPath,
  logger,
  webpackConfigHook: (config) => ({
    ...config,
    devtool: 'inline-nosources-source-map',
    output: { ...config.output, devtoolModuleFilenameTemplate: '[resource-path]' },
  }),
});
const forbidden = ['koffi', 'node:fs', 'node:child_process', 'apache-arrow'];
const found = forbidden.filter((name) => code.includes(`require("${name}")`));
if (found.length > 0) {
  throw new Error(
    `workflow bundle must not contain ${found.join(', ')}; move that import out of workflows/`,
  );
}
await mkdir(`${root}dist`, { recursive: true });
await writeFile(`${root}dist/workflow-bundle.js`, code);
console.log(`dist/workflow-bundle.js: ${String(Math.round(code.length / 1024))} KiB`);
