// Measures plan replay on one core: plans recomputed and compared per second, from records in memory and
// from the bytes of an export (hash chain, parsing and joining included). Every plan must come out equal.
// Writes bench/record/<machine>/<date>-replay.json. Run: node bench/run.mjs replay
import { hash } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { joinRecords, readExport, writeExport, type PlanRecord } from '../history/index.ts';
import { POLICIES, rebuildRecipes, replayPlan } from '../planner/index.ts';
import { REGISTRY } from '../registry/index.ts';
import { emptyHistory, foldOutcome, shapeBucket } from '../telemetry/index.ts';
import { wholeRun } from '../tests/history/fixtures.ts';
import { GPU_SNAPSHOT, WORK, type InputChanges } from '../tests/planner/fixtures.ts';
import { writeRecord } from './record.ts';

/** Few enough to stay in the young heap: a replay keeps none of them either. */
const CHUNKS = 1_000;
const PASSES = 10;
const ROUNDS = 3;

const history = foldOutcome(emptyHistory(), {
  variant: 'assign/grid-avx2@1',
  deviceClass: 'cpu-avx2',
  shape: shapeBucket(WORK),
  rows: 1e8,
  seconds: 2,
  predictedSeconds: 2,
  failed: false,
});

const CASES: Readonly<Record<string, InputChanges>> = {
  'cpu host': { history, work: { chunkIndex: 9 } },
  'gpu host': { history, snapshot: GPU_SNAPSHOT },
};

const stored = { policies: POLICIES, registries: [REGISTRY] };
const { recipes } = rebuildRecipes(JSON.parse(JSON.stringify(stored)) as typeof stored);
const digest = (text: string): string => hash('sha256', text);

/** Plans of so many records that come out equal; fails at the first that does not. */
async function replayAll(
  records: AsyncIterable<PlanRecord> | Iterable<PlanRecord>,
): Promise<number> {
  let plans = 0;
  for await (const { input, decision } of records) {
    if (input === null || decision === null) throw new Error('a record lacks its input');
    const { kind } = replayPlan(input, decision, recipes, digest);
    if (kind !== 'equal') throw new Error(`a plan is ${kind}`);
    plans += 1;
  }
  return plans;
}

interface Timing {
  readonly case: string;
  readonly from: 'memory' | 'export';
  /** Of CPU time of the process: other work on the machine does not count. */
  readonly plansPerCpuSecond: number;
  readonly plansPerSecond: number;
}

/** The best of some rounds, as other work on the machine can only slow a round down. */
async function measure(
  name: string,
  from: Timing['from'],
  run: () => Promise<number>,
): Promise<Timing> {
  await run();
  let [bestCpu, best] = [0, 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    const cpu = process.cpuUsage();
    const start = performance.now();
    let plans = 0;
    for (let pass = 0; pass < PASSES; pass += 1) plans += await run();
    const { user, system } = process.cpuUsage(cpu);
    bestCpu = Math.max(bestCpu, plans / ((user + system) / 1e6));
    best = Math.max(best, plans / ((performance.now() - start) / 1000));
  }
  const timing = {
    ...{ case: name, from },
    plansPerCpuSecond: Math.round(bestCpu),
    plansPerSecond: Math.round(best),
  };
  console.log(
    `${name.padEnd(10)} from ${from.padEnd(7)} ${timing.plansPerSecond} plans/s, ${timing.plansPerCpuSecond} per CPU second`,
  );
  return timing;
}

async function measureCase(name: string, changes: InputChanges): Promise<readonly Timing[]> {
  const texts: Buffer[] = [];
  for await (const text of writeExport('run-1', stored, wholeRun(CHUNKS, { changes }))) {
    texts.push(Buffer.from(text));
  }
  const bytes = Buffer.concat(texts);
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  };
  const open = async (): Promise<AsyncIterable<PlanRecord>> =>
    joinRecords((await readExport(chunks(), 'bench')).lines);
  const records: PlanRecord[] = [];
  for await (const record of await open()) records.push({ ...record });
  return [
    await measure(name, 'memory', () => replayAll(records)),
    await measure(name, 'export', async () => replayAll(await open())),
  ];
}

const timings: Timing[] = [];
for (const [name, changes] of Object.entries(CASES))
  timings.push(...(await measureCase(name, changes)));
if (process.argv.includes('--record'))
  console.log(writeRecord('replay', { plans: CHUNKS * PASSES, timings }));
