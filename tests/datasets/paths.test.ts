// Paths that leave the roots, and CRS names.
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  crsOfProjJson,
  hash128,
  normaliseCrs,
  requireSameCrs,
  resolveUnderRoots,
} from '../../datasets/index.ts';
import { expectCode, temporaryFolder } from './support.ts';

const folder = realpathSync(temporaryFolder());
const root = path.join(folder, 'root');
const elsewhere = path.join(folder, 'elsewhere');
mkdirSync(path.join(root, 'deep'), { recursive: true });
mkdirSync(elsewhere);
writeFileSync(path.join(root, 'file'), '');
writeFileSync(path.join(elsewhere, 'secret'), '');
symlinkSync(elsewhere, path.join(root, 'out'));
symlinkSync(path.join(root, 'deep'), path.join(root, 'in'));
symlinkSync(path.join(root, 'file'), path.join(root, 'link'));
symlinkSync(path.join(elsewhere, 'nothing'), path.join(root, 'dangling'));

describe('resolveUnderRoots', () => {
  const at = (...names: string[]): Promise<string> =>
    resolveUnderRoots(path.join(root, ...names), [root]);

  test('allows the root, what is in it, what is not there yet, and links that stay inside', async () => {
    expect(await at()).toBe(root);
    expect(await at('file')).toBe(path.join(root, 'file'));
    expect(await at('new', 'folder')).toBe(path.join(root, 'new', 'folder'));
    expect(await at('in', 'new')).toBe(path.join(root, 'deep', 'new'));
    expect(await resolveUnderRoots(path.join(elsewhere, 'secret'), ['/nowhere', elsewhere])).toBe(
      path.join(elsewhere, 'secret'),
    );
    expect(await resolveUnderRoots('/etc', ['/'])).toBe('/etc');
  });

  test.each([
    ['a last symlink', `${root}/link`],
    ['a link that leads out', `${root}/out/secret`],
    ['a dangling link', `${root}/dangling`],
    ['a parent that dangles', `${root}/dangling/x`],
    ['two dots', `${root}/deep/../../elsewhere/secret`],
    ['two dots that stay inside', `${root}/deep/../file`],
    ['a sibling with the same prefix', `${root}-evil/file`],
    ['another place', '/etc/passwd'],
    ['a relative path', 'root/file'],
    ['a NUL byte', `${root}/file\0.txt`],
    ['nothing', ''],
  ])('refuses %s', async (_, requested) => {
    await expectCode(() => resolveUnderRoots(requested, [root]), 'PATH_OUTSIDE_ROOTS', [root]);
  });

  test('refuses everything without roots', async () => {
    await expectCode(() => resolveUnderRoots(root, []), 'PATH_OUTSIDE_ROOTS');
  });
});

describe('normaliseCrs', () => {
  test.each([
    ['EPSG:4326', 'OGC:CRS84'],
    ['epsg:4326', 'OGC:CRS84'],
    ['urn:ogc:def:crs:OGC:1.3:CRS84', 'OGC:CRS84'],
    ['urn:ogc:def:crs:EPSG::4326', 'OGC:CRS84'],
    ['http://www.opengis.net/def/crs/EPSG/0/5070', 'EPSG:5070'],
    ['urn:ogc:def:crs:EPSG:6.9:3857', 'EPSG:3857'],
    ['WGS84', 'OGC:CRS84'],
  ])('knows %s as %s', (text, expected) => expect(normaliseCrs(text)).toBe(expected));

  test('refuses what names nothing', async () => {
    await expectCode(() => normaliseCrs('here'), 'CRS_UNSUPPORTED', ['here']);
    await expectCode(() => crsOfProjJson({ name: 'Local' }), 'CRS_UNSUPPORTED', ['Local']);
    await expectCode(() => crsOfProjJson(null), 'CRS_UNSUPPORTED');
    expect(crsOfProjJson(undefined)).toBe('OGC:CRS84');
    await expectCode(() => requireSameCrs('layer x', 'EPSG:1', 'EPSG:2'), 'CRS_MISMATCH', [
      'layer x',
    ]);
  });
});

describe('hash128', () => {
  // Vectors of the xxHash project: XXH3_128bits with seed 0, canonical form.
  test('gives the known answers', () => {
    expect(hash128(new Uint8Array(0))).toBe('99aa06d3014798d86001c324468d497f');
    expect(hash128(new TextEncoder().encode('abc'))).toBe('06b05ab6733a618578af5f94892f3950');
  });
});
