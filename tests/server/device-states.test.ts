import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { identityOf, readDeviceStates, writeDeviceStates } from '../../server/index.ts';

let hosts: string;

beforeEach(() => {
  hosts = mkdtempSync(join(tmpdir(), 'tileloom-states-'));
});
afterEach(() => rmSync(hosts, { recursive: true, force: true }));

const state = { deviceId: 'GPU-1', quarantine: 'DEVICE_LOST: often', resident: ['layer'] };

describe('device states', () => {
  test('of a worker that lives are read with its host, the last ones written', () => {
    writeDeviceStates(join(hosts, 'one'), [{ ...state, quarantine: null }]);
    writeDeviceStates(join(hosts, 'one'), [state]);
    expect(readDeviceStates(hosts)).toEqual([{ ...state, hostId: 'one' }]);
  });

  test('of a worker that is gone, or that are no states, count for nothing', () => {
    const write = (host: string, text: string): void => {
      mkdirSync(join(hosts, host));
      writeFileSync(join(hosts, host, 'devices.json'), text);
    };
    const file = { schema: 'tileloom.device-states/1', devices: [state] };
    const gone = { ...identityOf(process.pid), startTime: '1' };
    write('gone', JSON.stringify({ ...file, worker: gone }));
    write('cut', '{"schema":');
    write('other', JSON.stringify({ ...file, schema: 'x/9', worker: identityOf(process.pid) }));
    mkdirSync(join(hosts, 'empty'));
    expect(readDeviceStates(hosts)).toEqual([]);
    expect(readDeviceStates(join(hosts, 'nowhere'))).toEqual([]);
  });
});
