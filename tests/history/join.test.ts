import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  WAITING_MAX,
  joinRecords,
  type HistoryLine,
  type PlanLine,
  type PlanRecord,
} from '../../history/index.ts';
import { canonicalJson } from '../../core/index.ts';
import { makePin, pinned } from '../planner/fixtures.ts';
import { executeLine, inputFor, planIn, planLine, wholeRun } from './fixtures.ts';

async function joined(lines: Iterable<HistoryLine>): Promise<PlanRecord[]> {
  const records: PlanRecord[] = [];
  for await (const record of joinRecords(lines)) records.push(record);
  return records;
}

const brief = ({ chunk, outcome, leasedFrom }: PlanRecord) => [chunk, outcome, leasedFrom];

describe('joinRecords', () => {
  test('puts the whole input, the decision and the execution together', async () => {
    const planned = planLine({ chunk: 0 });
    const execution = executeLine({ chunk: 0 }, planned, { seconds: 1 });
    const [record] = await joined([planned, execution]);
    expect(record).toMatchObject({ outcome: 'executed', shard: 0, chunk: 0, leasedFrom: null });
    expect(canonicalJson(record?.input)).toBe(canonicalJson(inputFor({ chunk: 0 })));
    expect(record?.decision).toEqual(planIn(planned));
    expect(record?.execution).toEqual(execution);
  });

  test('tells what came of each plan', async () => {
    const failed = planLine({ chunk: 0 });
    const superseded = planLine({ chunk: 1, round: 0 });
    const again = planLine({ chunk: 1, round: 1, changes: { where: { epoch: 2 } } });
    const impossible = pinned(makePin({ aspect: 'runtime', value: 'gpu' }));
    const refused = planLine({ chunk: 2, changes: impossible });
    const failure = { type: 'TIMEOUT', message: 'no answer' };
    const unanswered: PlanLine = { ...planLine({ chunk: 3 }), answer: null, failure };
    const records = await joined([
      failed,
      superseded,
      executeLine({ chunk: 0 }, failed, { failure: 'KERNEL_FAULT' }),
      again,
      refused,
      unanswered,
      executeLine({ chunk: 1 }, again, { seconds: 1 }),
      planLine({ chunk: 4 }),
    ]);
    expect(records.map(brief)).toEqual([
      [0, 'failed', null],
      [1, 'superseded', null],
      [1, 'executed', null],
      [2, 'refused', null],
      [3, 'plan-failed', null],
      [4, 'superseded', null],
    ]);
    expect(records[4]?.input).toBeNull();
  });

  test('gives each chunk of a leased plan its own record', async () => {
    const planned = planLine({ chunk: 0 });
    const runs = [0, 1, 2].map((chunk) => executeLine({ chunk }, planned, { seconds: 1 }));
    const records = await joined([planned, ...runs]);
    expect(records.map(brief)).toEqual([
      [0, 'executed', null],
      [1, 'executed', 0],
      [2, 'executed', 0],
    ]);
    expect(records.map(({ planned: line }) => line)).toEqual([planned, planned, planned]);
  });

  test('keeps an execution whose plan is not among the lines', async () => {
    const planned = planLine({ chunk: 0 });
    const records = await joined([executeLine({ chunk: 5 }, planned, { seconds: 1 })]);
    expect(records).toMatchObject([{ chunk: 5, outcome: 'executed', input: null, decision: null }]);
  });

  test('orders chunks of each shard whatever the order in which they closed', async () => {
    const order = fc.shuffledSubarray([...Array(12).keys()], { minLength: 12 });
    await fc.assert(
      fc.asyncProperty(order, order, async (planOrder, runOrder) => {
        const lines = new Map(planOrder.map((chunk) => [chunk, planLine({ chunk })]));
        const records = await joined([
          ...lines.values(),
          ...runOrder.map((chunk) =>
            executeLine({ chunk }, lines.get(chunk) as PlanLine, { seconds: 1 }),
          ),
        ]);
        expect(records.map(({ chunk }) => chunk)).toEqual([...Array(12).keys()]);
        expect(records.every(({ outcome }) => outcome === 'executed')).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('keeps few lines of 100,000 chunks, also where none of them ran', async () => {
    const template = [...wholeRun(1)];
    function* many(executed: boolean): Generator<HistoryLine> {
      for (let chunk = 0; chunk < 100_000; chunk += 1) {
        for (const line of template) {
          const runId = executed ? `execution-${Math.floor(chunk / 300)}` : 'execution';
          if (line.kind === 'plan') {
            const where = { ...line.call.request.where, chunk };
            const call = { ...line.call, request: { ...line.call.request, where } };
            const decision = { ...planIn(line), planId: `plan-${chunk}` };
            const answer = { ...(line.answer as NonNullable<PlanLine['answer']>), decision };
            yield { ...line, runId, call, answer };
          } else if (executed) {
            yield { ...line, runId, order: { ...line.order, chunk, planId: `plan-${chunk}` } };
          }
        }
      }
    }
    for (const executed of [true, false]) {
      let [most, records, ran, last] = [0, 0, 0, -1];
      const onKept = (kept: number): void => void (most = Math.max(most, kept));
      for await (const { chunk, outcome } of joinRecords(many(executed), { onKept })) {
        records += 1;
        if (outcome === 'executed') ran += 1;
        expect(chunk).toBe(last + 1);
        last = chunk;
      }
      expect({ records, ran }).toEqual({ records: 100_000, ran: executed ? 100_000 : 0 });
      expect(most).toBeLessThanOrEqual(executed ? 302 : 2 * WAITING_MAX + 2);
    }
  });
});
