// Owns where things lie: in a checkout, or in the pack that scripts/pack-gpu.mjs makes (then pack.json
// stands beside package.json and says what was packed).
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commitOf } from './commit.ts';

export interface Place {
  readonly root: string;
  /** Libraries and the image; another folder where `run` built them anew. */
  readonly libraries: string;
  readonly corpus: string;
  readonly commit: string;
  /** Null in a checkout. */
  readonly pack: PackFacts | null;
  layerFile(name: 'counties' | 'countries'): string;
}

export interface PackFacts {
  readonly schema: 'tileloom.gpu-pack/1';
  readonly version: string;
  readonly commit: string;
  readonly packedAt: string;
  readonly node: string;
  /** Least glibc of the Node binary, and of the libraries. */
  readonly glibc: { readonly node: string; readonly libraries: string };
  readonly deviceSources: string;
  /** Whether the archive holds the image built ahead of time; without it NVRTC compiles. */
  readonly image: boolean;
}

const LAYER_FILES = {
  counties: 'us-atlas/counties-10m.json',
  countries: 'world-atlas/countries-10m.json',
} as const;

export function findPlace(): Place {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  const given = process.env['TILELOOM_PACK_LIBRARIES'] ?? '';
  const libraries = given === '' ? join(root, 'native', 'build') : given;
  if (existsSync(join(root, 'pack.json'))) {
    const pack = JSON.parse(readFileSync(join(root, 'pack.json'), 'utf8')) as PackFacts;
    const corpus = join(root, 'data', 'corpus');
    const layerFile = (name: keyof typeof LAYER_FILES): string =>
      join(root, 'data', LAYER_FILES[name].replace('/', '-'));
    return { root, libraries, corpus, commit: pack.commit, pack, layerFile };
  }
  const require = createRequire(join(root, 'package.json'));
  return {
    root,
    libraries,
    corpus: join(root, 'tests', 'fixtures', 'corpus'),
    commit: commitOf(root),
    pack: null,
    layerFile: (name) => require.resolve(LAYER_FILES[name]),
  };
}
