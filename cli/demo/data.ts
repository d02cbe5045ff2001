// Owns the demo's inputs: the counties, the real cities, the synthetic points, and a pipeline for
// each.
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { citiesDataset, makeDataset, openDataset } from '../../datasets/index.ts';

export interface DemoFolders {
  readonly root: string;
  readonly data: string;
  readonly out: string;
  readonly counties: string;
  readonly cities: string;
  readonly points: string;
}

export function demoFolders(root: string): DemoFolders {
  const data = join(root, 'data');
  return {
    root,
    data,
    out: join(root, 'out'),
    counties: join(data, 'us-counties.topo.json'),
    cities: join(data, 'cities'),
    points: join(data, 'points'),
  };
}

/** A pipeline over the counties, as YAML that the user may run again. */
function pipelineText(name: string, dataset: string, measures: string): string {
  return `# Written by tileloom demo. Run it again: tileloom run start ${name}.yaml --with-worker --sink out/again
apiVersion: tileloom/v1
kind: Pipeline
name: ${name}
source: { dataset: ./data/${dataset}, crs: OGC:CRS84 }
layers:
  counties: { file: ./data/us-counties.topo.json, object: counties, id: '@id' }
steps:
  - assign: { layer: counties, as: county }
  - aggregate: { by: county, measures: ${measures} }
sink: { path: ./out/${name}, format: arrow }
limits: { memory: 1 GiB }
`;
}

export interface DemoPipeline {
  readonly name: string;
  /** Path of the YAML file. */
  readonly file: string;
  /** What the first measure says of a county. */
  readonly measure: string;
}

/** Makes folders, the county borders and the pipelines; cheap, and done at each demo. */
export async function prepareFolders(
  folders: DemoFolders,
): Promise<{ cities: DemoPipeline; points: DemoPipeline }> {
  await mkdir(folders.data, { recursive: true });
  await mkdir(folders.out, { recursive: true });
  await copyFile(
    createRequire(import.meta.url).resolve('us-atlas/counties-10m.json'),
    folders.counties,
  );
  const cities = join(folders.root, 'cities-by-county.yaml');
  const points = join(folders.root, 'points-by-county.yaml');
  await writeFile(
    cities,
    pipelineText('cities-by-county', 'cities', '[{ sum: population }, count]'),
  );
  await writeFile(
    points,
    pipelineText('points-by-county', 'points', '[count, { sum: value }, { mean: value }]'),
  );
  return {
    cities: { name: 'cities-by-county', file: cities, measure: 'population' },
    points: { name: 'points-by-county', file: points, measure: 'points' },
  };
}

/** Writes the real cities unless they are there. */
export async function ensureCities(folders: DemoFolders): Promise<{ rows: number }> {
  const there = await rowsOf(folders.cities);
  return there === null ? citiesDataset({ out: folders.cities, force: true }) : { rows: there };
}

/** Makes the synthetic points unless a dataset of as many rows is there. */
export async function ensurePoints(
  folders: DemoFolders,
  rows: number,
  options: {
    readonly signal: AbortSignal;
    readonly onRows: (done: number, total: number) => void;
  },
): Promise<void> {
  if ((await rowsOf(folders.points)) === rows) {
    return;
  }
  await makeDataset(
    { out: folders.points, rows, force: true, signal: options.signal },
    ({ rowsDone, rowsTotal }) => {
      options.onRows(rowsDone, rowsTotal ?? rows);
    },
  );
}

async function rowsOf(folder: string): Promise<number | null> {
  try {
    const { manifest } = await openDataset(folder);
    return manifest.rows;
  } catch {
    return null;
  }
}
