// What the audit says of a run, against the entries as they were made when its history was recorded.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { auditOf, auditText, readAudit, runEvents, sealedAudit } from '../../history/index.ts';
import { applyRequest, reopen, type OperatorCommand } from '../../operator/index.ts';
import { LIMITS, NOW, STATE, facts, pause, pin, request, wish } from '../operator/values.ts';
import { RecordedRun, payload, type Task } from './recorded-run.ts';

let number = 0;
const ask = (command: OperatorCommand, more: object = {}): ReturnType<typeof request> => {
  number += 1;
  return request(command, { id: `r-${number}`, ...more });
};

describe('auditOf', () => {
  test('begins with what the run was started with', async () => {
    const state = applyRequest(STATE, ask(pin(wish())), facts()).state;
    const run = new RecordedRun(state, NOW);
    expect(await auditOf(run.events)).toEqual([
      {
        schema: 'tileloom.audit-entry/1',
        epoch: 1,
        at: NOW,
        by: '7@host',
        via: 'start',
        verb: 'start',
        reason: '',
        requestId: null,
        before: {},
        after: { limits: LIMITS, pins: state.pins },
      },
    ]);
  });

  test('tells updates, signals and expiries in the order in which they were applied', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.task({ at: NOW + 10, updates: [ask(pause(100), { by: 'ann', reason: 'a\u001b[2J' })] });
    run.task({ at: NOW + 50, signals: [ask({ verb: 'pause', mode: 'now', ttlMs: 200 })] });
    run.task({ at: NOW + 260, timer: true });
    run.task({ at: NOW + 300, updates: [ask(pin(wish({ ttlMs: 5 })))] });
    run.task({ at: NOW + 900, updates: [ask({ verb: 'limits', set: { lanes: 5 } })] });
    const [start, ...entries] = await auditOf(run.events);
    expect(start?.verb).toBe('start');
    expect(entries).toEqual(run.entries);
    expect(entries.map(({ verb, at, epoch }) => [verb, at - NOW, epoch])).toEqual([
      ['pause', 10, 1],
      ['pause', 50, 2],
      ['expire', 250, 3],
      ['pin', 300, 4],
      ['expire', 305, 5],
      ['limits', 900, 6],
    ]);
  });

  test('leaves out what was refused, changed nothing, or came twice', async () => {
    const run = new RecordedRun(STATE, NOW);
    const once = ask(pause());
    run.task({
      at: NOW + 10,
      updates: [ask({ verb: 'resume' }), once],
      impossible: [ask(pin(wish()))],
    });
    run.task({
      at: NOW + 20,
      updates: [once],
      signals: [once, null, 'x', ask({ verb: 'cancel' })],
    });
    run.task({ at: NOW + 30, signals: [ask(pause(-1))] });
    expect((await auditOf(run.events)).map(({ verb }) => verb)).toEqual(['start', 'pause']);
  });

  test('a pause that comes while the run publishes has no effect and leaves nothing', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.publish(NOW + 10);
    run.task({ at: NOW + 20, signals: [ask(pause())] });
    expect(run.entries).toEqual([]);
    expect(await auditOf(run.events)).toHaveLength(1);
  });

  test('a task that failed does not end what waits for it', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.add(NOW + 5, {
      workflowExecutionSignaledEventAttributes: {
        signalName: 'operateLater',
        input: payload(ask(pause())),
      },
    });
    run.add(NOW + 7, { workflowTaskStartedEventAttributes: {} });
    run.task({ at: NOW + 4000 });
    expect((await auditOf(run.events))[1]).toMatchObject({ verb: 'pause', at: NOW + 4000 });
  });

  test('payloads that are no JSON, other signals and other updates are passed over', async () => {
    const run = new RecordedRun(STATE, NOW);
    const input = { payloads: [{ data: new Uint8Array([0xff, 0x00]) }] };
    for (const signalName of ['operateLater', 'parked']) {
      run.add(NOW, { workflowExecutionSignaledEventAttributes: { signalName, input } });
    }
    run.add(NOW, {
      workflowExecutionUpdateAcceptedEventAttributes: { acceptedRequest: { input: { name: 'x' } } },
    });
    run.task({ at: NOW + 10, updates: [ask(pause())] });
    expect((await auditOf(run.events)).map(({ verb }) => verb)).toEqual(['start', 'pause']);
  });

  test('goes on through continue-as-new without a further start', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.task({ at: NOW + 10, updates: [ask(pause(100))] });
    run.start(NOW + 50, 'continued');
    run.task({ at: NOW + 200, timer: true });
    // What is over when the next execution begins is ended by it.
    run.task({ at: NOW + 300, updates: [ask(pause(100))] });
    run.task({ at: NOW + 405 });
    run.start(NOW + 406, 'continued');
    run.task({ at: NOW + 410, timer: true });
    const [, ...entries] = await auditOf(run.events);
    expect(entries).toEqual(run.entries);
    expect(entries.map(({ verb }) => verb)).toEqual(['pause', 'expire', 'pause', 'expire']);
  });

  test('a retry of a closed run is an entry of who ordered it', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.task({ at: NOW + 10, updates: [ask({ verb: 'cancel' })] });
    const select = { tiles: null, fingerprint: 'f00d' };
    const order = ask({ verb: 'retry', select, pin: null }, { by: 'bob', reason: 'disk is back' });
    const opened = reopen(run.state, { failedTiles: 3 });
    run.state = applyRequest(opened, order, facts()).state;
    run.start(NOW + 9000, 'retried');
    const { entries, whole } = await readAudit(run.events);
    expect(whole).toBe(true);
    expect(entries.at(-1)).toEqual({
      schema: 'tileloom.audit-entry/1',
      epoch: 3,
      at: NOW + 9000,
      by: 'bob',
      via: 'start',
      verb: 'retry',
      reason: 'disk is back',
      requestId: order.id,
      before: { limits: LIMITS, parkedOrders: [], cancel: run.entries[0]?.after.cancel },
      after: {
        limits: { ...LIMITS, failedTiles: 3 },
        parkedOrders: run.state.parkedOrders,
        cancel: null,
      },
    });
  });

  test('says when the first executions are forgotten', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.task({ at: NOW + 10, updates: [ask(pause())] });
    const forgotten = run.events.length;
    run.start(NOW + 50, 'continued');
    run.task({ at: NOW + 60, updates: [ask({ verb: 'resume' })] });
    const { entries, whole } = await readAudit(run.events.slice(forgotten));
    expect(whole).toBe(false);
    expect(entries.map(({ verb, epoch }) => [verb, epoch])).toEqual([
      ['start', 1],
      ['resume', 2],
    ]);
  });

  test('agrees with what was recorded, whatever came when', async () => {
    const ttl = fc.constantFrom(null, 1, 30, 90);
    const command: fc.Arbitrary<OperatorCommand> = fc.oneof(
      ttl.map((time) => pause(time)),
      fc.constant({ verb: 'resume' } as const),
      fc.tuple(ttl, fc.constantFrom('a', 'b')).map(([ttlMs, value]) => pin(wish({ ttlMs, value }))),
      fc.constant({ verb: 'unpin', ids: null } as const),
      fc.integer({ min: 1, max: 3 }).map((lanes) => ({ verb: 'limits', set: { lanes } }) as const),
    );
    const task = fc.record({
      wait: fc.nat({ max: 60 }),
      signals: fc.array(command, { maxLength: 2 }),
      updates: fc.array(command, { maxLength: 2 }),
      timer: fc.boolean(),
      rotate: fc.constantFrom(false, false, false, true),
    });
    const property = fc.asyncProperty(fc.array(task, { maxLength: 12 }), async (tasks) => {
      const run = new RecordedRun(STATE, NOW);
      let at = NOW;
      for (const { wait, signals, updates, timer, rotate } of tasks) {
        at += 2 + wait;
        const one: Task = { at, signals: signals.map((each) => ask(each)), timer };
        run.task({ ...one, updates: updates.map((each) => ask(each)) });
        if (rotate) run.start(at + 1, 'continued');
      }
      run.task({ at: at + 1000, timer: true });
      expect((await auditOf(run.events)).slice(1)).toEqual(run.entries);
    });
    await fc.assert(property, { numRuns: 1000 });
  });
});

describe('runEvents', () => {
  test('yields what the service still knows, oldest execution first', async () => {
    const notFound = Object.assign(new Error('gone'), { code: 5 });
    const source = {
      chain: (workflowId: string) =>
        Promise.resolve(['a', 'b', 'c'].map((runId) => ({ workflowId, runId }))),
      async *events({ workflowId, runId }: { workflowId: string; runId: string }) {
        await Promise.resolve();
        if (runId === 'a') throw notFound;
        yield { eventId: `${workflowId}#${runId}` };
      },
    };
    const seen: unknown[] = [];
    for await (const { eventId } of runEvents(source, 'run-1')) seen.push(eventId);
    expect(seen).toEqual(['tileloom/run-1#b', 'tileloom/run-1#c']);
  });
});

describe('sealedAudit', () => {
  let sink = '';
  beforeEach(async () => {
    sink = await mkdtemp(join(tmpdir(), 'tileloom-audit-'));
    await mkdir(join(sink, 'records'));
  });
  afterEach(() => rm(sink, { recursive: true }));

  test('gives back what was written, byte for byte, also hostile text', async () => {
    const run = new RecordedRun(STATE, NOW);
    run.task({ at: NOW + 1, updates: [ask(pause(), { reason: 'line\nend \u2028 \u202e 語' })] });
    const entries = await auditOf(run.events);
    await writeFile(join(sink, 'records', 'audit.jsonl'), auditText(entries));
    expect(await sealedAudit(sink)).toEqual(entries);
  });

  test('is null where nothing was sealed', async () => {
    expect(await sealedAudit(sink)).toBeNull();
    expect(await sealedAudit(join(sink, 'nowhere'))).toBeNull();
  });

  test('names the first line that was cut or edited', async () => {
    const text = auditText(await auditOf(new RecordedRun(STATE, NOW).events));
    const path = join(sink, 'records', 'audit.jsonl');
    for (const bad of [text.slice(0, -5), text.replace('"epoch":0', '"epoch":"0"'), '{}\n', '\n']) {
      await writeFile(path, `${text}${bad}`);
      await expect(sealedAudit(sink)).rejects.toMatchObject({
        code: 'HISTORY_INCOMPLETE',
        message: expect.stringContaining('audit.jsonl:2 is no audit entry') as string,
      });
    }
  });
});
