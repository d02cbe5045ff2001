import { describe, expect, test } from 'vitest';
import { canonicalJson } from '../../../core/index.ts';
import { createHostProbe, type ProbeEnvironment } from '../../../telemetry/probes/index.ts';

const FILES: Readonly<Record<string, string>> = {
  '/proc/cpuinfo':
    'processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu sse4_2 popcnt avx f16c fma bmi1 bmi2 avx2 avx512f avx512dq avx512bw avx512vl\n\nprocessor\t: 1\n',
  '/proc/meminfo': 'MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   12582912 kB\n',
  '/proc/loadavg': '0.42 0.30 0.20 1/90 17455\n',
  '/proc/self/status': 'Name:\tnode\nCpus_allowed_list:\t0-3,8\n',
  '/proc/self/cgroup': '0::/\n',
  '/proc/stat': 'cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n',
  '/proc/sys/kernel/random/boot_id': '6a9c2c1e-7a59-4d2a-9b9e-1e1d6f6c0f00\n',
};

const KIB_16 = 16_777_216 * 1_024;

function machine(
  changes: Readonly<Record<string, string | null>> = {},
): ProbeEnvironment & { files: Record<string, string | null> } {
  const files: Record<string, string | null> = { ...FILES, ...changes };
  return {
    files,
    readText: (path) => files[path] ?? null,
    exists: (path) => files[path] !== undefined && files[path] !== null,
    nowMs: () => 1_700_000_000_000,
    parallelism: () => 7,
    memoryBytes: () => 99,
  };
}

function snapshot(changes: Readonly<Record<string, string | null>> = {}) {
  return createHostProbe({ host: 'host-1', environment: machine(changes) }).readHost();
}

describe('host', () => {
  test('is read from /proc', () => {
    const host = snapshot();
    expect(host).toMatchObject({
      host: 'host-1',
      bootId: '6a9c2c1e-7a59-4d2a-9b9e-1e1d6f6c0f00',
      takenAt: 1_700_000_000_000,
      ageMs: 0,
      cores: 5,
      load1: 0.42,
      memAvailableBytes: 12_582_912 * 1_024,
      memLimitBytes: KIB_16,
    });
    expect(host.isa).toContain('avx2');
    expect(host.isa).not.toContain('fpu');
    expect(host.devices[0]).toMatchObject({
      deviceId: 'cpu',
      deviceClass: 'cpu-avx2',
      fp64Ratio: 1,
    });
  });

  test('fits 900 bytes without a GPU', () => {
    expect(Buffer.byteLength(canonicalJson(snapshot()))).toBeLessThanOrEqual(900);
    const real = createHostProbe({ host: 'h'.repeat(63) });
    real.readHost();
    expect(Buffer.byteLength(canonicalJson(real.readHost()))).toBeLessThanOrEqual(900);
  });

  test('what cannot be read is null, and the rest still stands', () => {
    const nothing = Object.fromEntries(Object.keys(FILES).map((path) => [path, null]));
    expect(snapshot(nothing)).toMatchObject({
      bootId: 'unknown',
      cores: 7,
      load1: null,
      memAvailableBytes: null,
      memLimitBytes: 99,
      isa: [],
      devices: [{ deviceClass: 'cpu-scalar', name: null, utilizationPct: null }],
    });
  });

  test('an Arm host tells its features under another name', () => {
    const host = snapshot({ '/proc/cpuinfo': 'Features\t: fp asimd sve\n' });
    expect(host.isa).toEqual(['asimd', 'sve']);
    expect(host.devices[0]?.deviceClass).toBe('cpu-scalar');
  });

  test('utilisation is the share since the reading before, unknown at first', () => {
    const environment = machine();
    const probe = createHostProbe({ host: 'h', environment });
    expect(probe.readHost().devices[0]?.utilizationPct).toBeNull();
    expect(probe.readHost().devices[0]?.utilizationPct).toBeNull();
    environment.files['/proc/stat'] = 'cpu  160 0 50 830 60 0 0 0 0 0\n';
    expect(probe.readHost().devices[0]?.utilizationPct).toBe(60);
  });

  test('slots and quarantine come from the worker', () => {
    const cpuState = () => ({ slotsBusy: 1, slots: 2, quarantine: 'kernel fault' });
    const probe = createHostProbe({ host: 'h', cpuState, environment: machine() });
    expect(probe.readHost().devices[0]).toMatchObject(cpuState());
  });
});

describe('control groups', () => {
  const V2 = '/sys/fs/cgroup/app/job';
  const inV2 = { '/proc/self/cgroup': '0::/app/job\n' };
  const inV1 = {
    '/proc/self/cgroup': '4:memory:/m\n3:cpu,cpuacct:/c\n1:name=systemd:/x:y\n',
  };

  test.each([
    ['2.5 cores', { [`${V2}/cpu.max`]: '250000 100000\n' }, 2],
    ['half a core', { [`${V2}/cpu.max`]: '50000 100000\n' }, 1],
    ['no limit', { [`${V2}/cpu.max`]: 'max 100000\n' }, 5],
    [
      'a tighter parent',
      { [`${V2}/cpu.max`]: 'max 100000\n', '/sys/fs/cgroup/app/cpu.max': '300000 100000\n' },
      3,
    ],
    ['more than the affinity', { [`${V2}/cpu.max`]: '9900000 100000\n' }, 5],
  ])('version 2 grants %s', (_, files, cores) => {
    expect(snapshot({ ...inV2, ...files }).cores).toBe(cores);
  });

  test.each([
    ['a quota', '150000', 1],
    ['no quota', '-1', 5],
  ])('version 1 grants %s', (_, quota, cores) => {
    const folder = '/sys/fs/cgroup/cpu,cpuacct/c';
    const files = {
      [`${folder}/cpu.cfs_quota_us`]: quota,
      [`${folder}/cpu.cfs_period_us`]: '100000',
    };
    expect(snapshot({ ...inV1, ...files }).cores).toBe(cores);
  });

  test('version 2 memory counts what cannot be given back', () => {
    const host = snapshot({
      ...inV2,
      [`${V2}/memory.max`]: '1000000000\n',
      [`${V2}/memory.current`]: '600000000\n',
      [`${V2}/memory.stat`]: 'anon 1\ninactive_file 200000000\n',
    });
    expect(host).toMatchObject({ memLimitBytes: 1e9, memAvailableBytes: 6e8 });
  });

  test('version 1 memory is read, and its huge number means no limit', () => {
    const folder = '/sys/fs/cgroup/memory/m';
    const limited = {
      [`${folder}/memory.limit_in_bytes`]: '1000000000',
      [`${folder}/memory.usage_in_bytes`]: '1',
    };
    expect(snapshot({ ...inV1, ...limited }).memLimitBytes).toBe(1e9);
    const unlimited = { [`${folder}/memory.limit_in_bytes`]: '9223372036854771712' };
    expect(snapshot({ ...inV1, ...unlimited }).memLimitBytes).toBe(KIB_16);
  });

  test('inside a container whose path is not mounted the limits of the mount count', () => {
    const files = {
      '/proc/self/cgroup': '0::/../../kubepods/x\n',
      '/sys/fs/cgroup/memory.max': '5000000\n',
    };
    expect(snapshot(files).memLimitBytes).toBe(5_000_000);
  });

  test('less memory on the host than in the limit is what is available', () => {
    const files = { [`${V2}/memory.max`]: '16000000000\n', [`${V2}/memory.current`]: '0\n' };
    const host = snapshot({
      ...inV2,
      ...files,
      '/proc/meminfo': 'MemTotal: 16777216 kB\nMemAvailable: 1000 kB\n',
    });
    expect(host.memAvailableBytes).toBe(1_024_000);
  });
});

describe('the GPU part', () => {
  test('is unavailable with its reason', () => {
    expect(snapshot()).toMatchObject({
      backend: 'unavailable',
      reason: 'no libnvidia-ml.so.1 on this host',
    });
    const found = snapshot({ '/usr/lib64/libnvidia-ml.so.1': '' });
    expect(found.reason).toBe('libnvidia-ml.so.1 is there, but no GPU is in use');
    expect(found.devices).toHaveLength(1);
  });
});
