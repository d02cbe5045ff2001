import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  RetryState,
  TimeoutFailure,
  TimeoutType,
} from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import type { FailureType } from '../../workflows/activity-contract.ts';
import { backOffMs, classifyFailure, type Failure } from '../../workflows/failures.ts';

const wrapped = (cause: Error): ActivityFailure =>
  new ActivityFailure(
    'failed',
    'execute',
    'execute/1.0',
    RetryState.NON_RETRYABLE_FAILURE,
    'w',
    cause,
  );

const KINDS: Readonly<Record<FailureType, Failure['kind']>> = {
  OUT_OF_MEMORY: 'out-of-memory',
  KERNEL_FAULT: 'kernel-fault',
  RESIDENCY_LOST: 'moved-on',
  LEASE_LOST: 'moved-on',
  HOST_DRAINING: 'moved-on',
  HOST_RESTARTED: 'host-lost',
  INPUT_UNAVAILABLE: 'input-unavailable',
  TILE_DATA_ERROR: 'tile-data',
  DISK_FULL: 'disk-full',
  REFUSED: 'refused',
};

describe('classifyFailure', () => {
  test.each(Object.entries(KINDS))('%s is %s', (type, kind) => {
    const details = [{ code: 'SOME_CODE', tile: 7, input: 'a.arrow', fingerprint: 'f' }];
    const cause = ApplicationFailure.create({ type, message: 'it failed', details });
    expect(classifyFailure(wrapped(cause), false)).toEqual({
      kind,
      code: 'SOME_CODE',
      message: 'it failed',
      tile: 7,
      input: 'a.arrow',
      fingerprint: 'f',
    });
  });

  test('takes the type for the code when there are no details', () => {
    const cause = ApplicationFailure.create({ type: 'REFUSED', message: 'no' });
    expect(classifyFailure(wrapped(cause), false)).toMatchObject({ code: 'REFUSED', tile: null });
  });

  test.each([
    TimeoutType.SCHEDULE_TO_START,
    TimeoutType.HEARTBEAT,
    TimeoutType.START_TO_CLOSE,
    TimeoutType.SCHEDULE_TO_CLOSE,
  ])('a %s timeout is a lost host', (type) => {
    const failure = classifyFailure(wrapped(new TimeoutFailure('late', undefined, type)), false);
    expect(failure).toMatchObject({ kind: 'host-lost', code: `TIMEOUT_${type}` });
  });

  test('a cancellation that was asked for is one; another is a worker that shuts down', () => {
    const error = wrapped(new CancelledFailure('WORKER_SHUTDOWN'));
    expect(classifyFailure(error, true).kind).toBe('cancelled');
    expect(classifyFailure(error, false)).toMatchObject({
      kind: 'host-lost',
      code: 'HOST_SHUTDOWN',
    });
  });

  test.each([
    wrapped(ApplicationFailure.create({ type: 'TypeError', message: 'x is not a function' })),
    wrapped(new Error('x is not a function')),
    new Error('x is not a function'),
  ])('anything else is unexpected: %o', (error) => {
    expect(classifyFailure(error, false)).toMatchObject({
      kind: 'unexpected',
      code: 'RUN_ACTIVITY_FAILED',
      message: 'x is not a function',
    });
  });
});

describe('backOffMs', () => {
  test('doubles up to the limit and does not overflow', () => {
    expect([0, 1, 2, 3, 9, 5_000].map((failures) => backOffMs(failures, 500, 60_000))).toEqual([
      0, 500, 1000, 2000, 60_000, 60_000,
    ]);
  });
});
