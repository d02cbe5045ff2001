import { describe, expect, test } from 'vitest';
import { homePaths } from '../../server/index.ts';

describe('homePaths', () => {
  test('follows the XDG folders, and their defaults below HOME', () => {
    const paths = homePaths({ HOME: '/home/ada', XDG_STATE_HOME: '/var/ada' });
    expect(paths.server).toBe('/var/ada/tileloom/server');
    expect(paths.layers).toBe('/home/ada/.cache/tileloom/layers');
    expect([paths.port, paths.uiPort]).toEqual([7733, 8733]);
  });

  test('ignores a relative XDG folder, as its rules ask', () => {
    expect(homePaths({ HOME: '/home/ada', XDG_CACHE_HOME: 'here' }).cache).toBe(
      '/home/ada/.cache/tileloom',
    );
  });

  test('keeps everything below TILELOOM_HOME when it is set', () => {
    const paths = homePaths({ TILELOOM_HOME: '/data/tl', XDG_STATE_HOME: '/var/ada' });
    for (const path of [paths.server, paths.hosts, paths.layers, paths.temporal]) {
      expect(path.startsWith('/data/tl/')).toBe(true);
    }
  });

  test.each(['0', '70000', '-1', 'http', '7.5'])('refuses TILELOOM_PORT=%s', (port) => {
    expect(() => homePaths({ TILELOOM_PORT: port })).toThrow(
      expect.objectContaining({ code: 'SERVER_PORT_INVALID' }),
    );
  });
});
