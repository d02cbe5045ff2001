// Owns the file in which a worker tells other processes of its machine what only it knows of its devices:
// which are out of service, and which layers lie on them. `device list` and `device snapshot` read it.
//
// I1 the file is replaced whole; that of a worker which is gone counts for nothing
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { identityOf, isAlive, type ProcessIdentity } from './process-identity.ts';

const FILE = 'devices.json';

export interface DeviceState {
  readonly deviceId: string;
  /** Why it is out of service, or null. */
  readonly quarantine: string | null;
  readonly resident: readonly string[];
}

interface StateFile {
  readonly schema: 'tileloom.device-states/1';
  readonly worker: ProcessIdentity;
  readonly devices: readonly DeviceState[];
}

/** A device as one worker of this machine knows it. */
export interface ReportedDevice extends DeviceState {
  readonly hostId: string;
}

/** Writes the state of this process's devices; a folder that cannot be written to is put up with. */
export function writeDeviceStates(hostDirectory: string, devices: readonly DeviceState[]): void {
  const file: StateFile = {
    schema: 'tileloom.device-states/1',
    worker: identityOf(process.pid),
    devices,
  };
  const path = join(hostDirectory, FILE);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.tmp`, JSON.stringify(file));
    renameSync(`${path}.tmp`, path);
  } catch {
    // What a person may look at is no reason to stop working.
  }
}

/** Devices of the workers that live on this machine, hosts ascending. */
export function readDeviceStates(hostsDirectory: string): readonly ReportedDevice[] {
  return namesIn(hostsDirectory).flatMap((hostId) => {
    const file = readState(join(hostsDirectory, hostId, FILE));
    if (file === null || !isAlive(file.worker)) return [];
    return file.devices.map((device) => ({ ...device, hostId }));
  });
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

function readState(path: string): StateFile | null {
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as StateFile;
    return file.schema === 'tileloom.device-states/1' ? file : null;
  } catch {
    return null;
  }
}
