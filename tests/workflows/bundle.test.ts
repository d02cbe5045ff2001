import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import * as workflows from '../../workflows/index.ts';
import { workflowBundlePath } from '../../worker/workflow-bundle.ts';

describe('workflow bundle', () => {
  test('is made from the sources, once, and holds the workflows and nothing of the outside', async () => {
    const path = await workflowBundlePath();
    expect(await workflowBundlePath()).toBe(path);
    const code = await readFile(path, 'utf8');
    for (const name of ['runWorkflow', 'shardWorkflow']) expect(code).toContain(name);
    for (const module of ['koffi', 'apache-arrow', 'node:fs', 'node:child_process']) {
      expect(code).not.toContain(`require("${module}")`);
    }
  });

  test('exports workflows only: each exported name becomes a workflow type', () => {
    expect(Object.keys(workflows).toSorted()).toEqual(['runWorkflow', 'shardWorkflow']);
  });
});
