// The audit of real histories on the real server, over SIMULATED activities: what operators were answered,
// what signals and time did, through continue-as-new, a cancel and a retry of the closed run.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { readAudit, runEvents, serviceHistory, type Audit } from '../../history/index.ts';
import {
  applyRequest,
  reopen,
  type AuditEntry,
  type OperatorCommand,
  type OperatorRequest,
} from '../../operator/index.ts';
import {
  LEDGER_QUERY,
  OPERATE_SIGNAL,
  STATUS_QUERY,
  type RunInput,
  type RunStatus,
} from '../../workflows/messages.ts';
import { eventually, operate, refusalCode, requestOf, wish } from '../e2e/harness/operators.ts';
import { startFleet, type Fleet } from '../e2e/harness/simulated-fleet.ts';
import { failure, runInput } from '../e2e/harness/simulated-values.ts';
import { SimulatedWork } from '../e2e/harness/simulated-work.ts';

let work: SimulatedWork;
let fleet: Fleet;
let runId: string;
type Handle = Awaited<ReturnType<Fleet['start']>>;

beforeEach(async () => {
  work = new SimulatedWork();
  fleet = await startFleet(inject('temporal').address, work);
  runId = randomUUID();
});
afterEach(() => fleet.close());

const pause = (ttlMs: number | null = null): OperatorCommand => ({
  verb: 'pause',
  mode: 'drain',
  ttlMs,
});
const auditOfRun = (): Promise<Audit> => readAudit(runEvents(serviceHistory(fleet.client), runId));
const statusOf = (handle: Handle): Promise<RunStatus> => handle.query<RunStatus>(STATUS_QUERY);

/** Sends requests one after another; gives the entries of their answers. */
async function entriesOf(
  handle: Handle,
  requests: readonly OperatorRequest[],
): Promise<readonly AuditEntry[]> {
  const entries: AuditEntry[] = [];
  for (const request of requests) {
    const { entry } = await operate(handle, request);
    if (entry !== null) entries.push(entry);
  }
  return entries;
}

describe('the audit of a run', () => {
  test('holds each accepted change and nothing else, while the run is open', async () => {
    await fleet.addHost('one');
    work.executeMs = 100;
    const handle = await fleet.start(runInput(runId));
    const once = requestOf(pause(), { reason: 'first' });
    const updates = await entriesOf(handle, [
      requestOf({ verb: 'resume' }),
      once,
      { ...once, via: 'again' },
      requestOf({ verb: 'pin', pins: [wish({ aspect: 'precision', value: 'fp64', ttlMs: 300 })] }),
    ]);
    const [first, repeated, pinning] = updates;
    expect(repeated).toEqual(first);
    work.onCheckPins = () => ['no live host has it'];
    const impossible = requestOf({ verb: 'pin', pins: [wish({ aspect: 'host', value: 'x' })] });
    expect(await refusalCode(operate(handle, impossible))).toBe('OPERATOR_PIN_IMPOSSIBLE');
    const invalid = requestOf(pause(-1));
    expect(await refusalCode(operate(handle, invalid))).toBe('OPERATOR_REQUEST_INVALID');
    await handle.signal(OPERATE_SIGNAL, requestOf({ verb: 'resume' }, { by: 'bob' }));
    await eventually(async () => {
      const { operator } = await statusOf(handle);
      return operator.pause === null && operator.pins.length === 0;
    });
    const { entries, whole } = await auditOfRun();
    expect(whole).toBe(true);
    const { epoch } = await statusOf(handle);
    expect(entries.map(({ verb }) => verb).toSorted()).toEqual(
      ['start', 'pause', 'pin', 'resume', 'expire'].toSorted(),
    );
    expect(entries.slice(1, 3)).toEqual([first, pinning]);
    expect(entries.map((one) => one.epoch)).toEqual([1, 2, 3, 4, 5]);
    expect(entries.at(-1)?.epoch).toBe(epoch);
    const pinned = pinning?.after.pins?.[0];
    expect(entries.find(({ verb }) => verb === 'expire')?.at).toBe(pinned?.expiresAt);
    await handle.terminate('seen enough');
    expect((await auditOfRun()).entries).toEqual(entries);
  });

  test('goes through continue-as-new of the run, and its epoch is the run’s', async () => {
    await fleet.addHost('one', { capacity: 4 });
    work = Object.assign(work, { dataset: { tiles: 240, tileRows: 1000, chunkTiles: 2 } });
    const tuning = { shardTilesMax: 20, openShardsMax: 2, runEventsMax: 60, shardEventsMax: 200 };
    const handle = await fleet.start(runInput(runId, { tuning }));
    const answered: AuditEntry[] = [];
    for (let round = 0; round < 8; round += 1) {
      const requests = [requestOf(pause(round % 3 === 0 ? 40 : null))];
      if (round % 2 === 0) requests.push(requestOf({ verb: 'limits', set: { lanes: 1 + round } }));
      answered.push(...(await entriesOf(handle, requests)));
      await new Promise((resolve) => setTimeout(resolve, 60));
      answered.push(...(await entriesOf(handle, [requestOf({ verb: 'resume' })])));
    }
    const { epoch } = await statusOf(handle);
    await handle.result();
    const { entries, whole } = await auditOfRun();
    const executions = await serviceHistory(fleet.client).chain(`tileloom/${runId}`);
    expect(executions.length).toBeGreaterThan(1);
    expect(whole).toBe(true);
    expect(entries.filter(({ verb }) => verb !== 'start' && verb !== 'expire')).toEqual(answered);
    expect(entries.map((one) => one.epoch)).toEqual(
      Array.from({ length: entries.length }, (_, n) => n + 1),
    );
    expect(entries.at(-1)?.epoch).toBe(epoch);
  });

  test('tells who retried a closed run', async () => {
    await fleet.addHost('one');
    let broken = true;
    work.onExecute = (order) => {
      if (broken && order.firstTile <= 7 && 7 < order.endTile) {
        throw failure('TILE_DATA_ERROR', { tile: 7 });
      }
    };
    const handle = await fleet.start(runInput(runId, { limits: { failedTiles: 3 } }));
    expect(await handle.result()).toMatchObject({ phase: 'partial' });
    broken = false;
    const ledger = await handle.query<RunInput | null>(LEDGER_QUERY);
    if (ledger === null) throw new Error('the run was not prepared');
    const select = { tiles: null, fingerprint: null };
    const order = requestOf({ verb: 'retry', select, pin: null }, { by: 'bob', reason: 'mended' });
    const facts = { nowMs: Date.now(), phase: 'running', tiles: 40 };
    const { state } = applyRequest(reopen(ledger.operator), order, facts);
    const next = await fleet.start({ ...ledger, operator: state });
    expect(await next.result()).toMatchObject({ phase: 'finished' });
    const { entries, whole } = await auditOfRun();
    expect(whole).toBe(true);
    expect(entries).toMatchObject([
      { verb: 'start', epoch: 1 },
      { verb: 'retry', epoch: 2, by: 'bob', reason: 'mended', requestId: order.id },
    ]);
  });
});
