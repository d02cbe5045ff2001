// Workflow code must replay what earlier code recorded: a run that is open while its workers are
// replaced goes on from its history. Recorded anew with `npm run record:histories` (docs/replay.md).
import { beforeAll, describe, expect, test } from 'vitest';
import { workflowBundlePath } from '../../worker/workflow-bundle.ts';
import { readGolden, type GoldenHistory } from './golden/histories.ts';
import { installQuietRuntime, replay } from './golden/replay.ts';
import { SCENARIOS } from './golden/scenarios.ts';

let golden: readonly GoldenHistory[] = [];
beforeAll(async () => {
  installQuietRuntime();
  golden = await readGolden();
});

describe('golden histories', () => {
  test.each(SCENARIOS)('of $behaviour replay with the present code', async ({ behaviour }) => {
    const histories = golden.filter((one) => one.behaviour === behaviour);
    const types = new Set(histories.map(({ workflowType }) => workflowType));
    expect(types).toEqual(new Set(['runWorkflow', 'shardWorkflow']));
    const mismatches = await replay({ codePath: await workflowBundlePath() }, histories);
    expect(
      mismatches.map(({ golden: { workflowId }, message }) => ({ workflowId, message })),
    ).toEqual([]);
  });

  test('name no machine', () => {
    const texts = golden.map((one) => JSON.stringify(one));
    const named = texts.flatMap(
      (text) => text.match(/\d+@[\w-]+|"\/(?:work|home|tmp|root)\//u) ?? [],
    );
    expect(named).toEqual([]);
  });
});
