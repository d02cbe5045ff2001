// Records the golden histories, when asked to: `npm run record:histories`. It writes into the tree,
// so it is no test of the e2e lane.
import { describe, expect, inject, test } from 'vitest';
import { workflowBundlePath } from '../../worker/workflow-bundle.ts';
import { startFleet } from '../e2e/harness/simulated-fleet.ts';
import { SimulatedWork } from '../e2e/harness/simulated-work.ts';
import { executionsOf } from './golden/executions.ts';
import { writeGolden } from './golden/histories.ts';
import { replay } from './golden/replay.ts';
import { SCENARIOS } from './golden/scenarios.ts';

const wanted = process.env['TILELOOM_RECORD_HISTORIES'];

describe.runIf(wanted !== undefined)('golden histories', () => {
  const chosen = SCENARIOS.filter(({ behaviour }) => wanted === 'all' || wanted === behaviour);

  test.each(chosen)('show $behaviour', async ({ behaviour, tiles, play }) => {
    const work = new SimulatedWork({ tiles });
    const fleet = await startFleet(inject('temporal').address, work);
    try {
      const run = await play({ fleet, work, runId: `golden-${behaviour}` });
      const { client } = fleet;
      const executions = await executionsOf(client, run.workflowId, run.firstExecutionRunId);
      const golden = executions.map((one) => ({ behaviour, ...one }));
      expect(await replay({ codePath: await workflowBundlePath() }, golden)).toEqual([]);
      const { bytes } = await writeGolden(behaviour, executions);
      console.log(`${behaviour}: ${String(executions.length)} executions, ${String(bytes)} bytes`);
    } finally {
      await fleet.close();
    }
  });
});
