// Owns `tileloom spec`: a pipeline to start from, its check, its JSON Schema.
import type { Command } from 'commander';
import { renderSpecProblems, specJsonSchema } from '../../spec/index.ts';
import { addGroup, addLeaf, type ProgramContext } from '../command.ts';
import { loadSpec } from '../files.ts';
import { formatBytes, formatFacts } from '../format.ts';

const STARTER = `# A tileloom pipeline. Paths are relative to this file. Check it: tileloom spec validate pipeline.yaml
apiVersion: tileloom/v1
kind: Pipeline
name: points-per-area
source:
  dataset: ./data/points # a folder made by \`tileloom dataset convert\` or \`make\`
  crs: OGC:CRS84
  wrap: true # longitudes from 180 to 540 mean x - 360
layers:
  areas: { file: ./areas.geojson, id: id }
steps:
  - assign: { layer: areas, as: area, boundary: half-open, overlap: first }
  - aggregate: { by: area, measures: [count, { sum: value }, { mean: value }] }
sink: { path: ./out, rows: false, format: arrow } # rows: also write the per-row result
plan: { mode: auto, precision: auto, policy: probe-first@3, cadence: every-chunk }
limits: { memory: 2 GiB, failedTiles: 0, lanes: 2 }
`;

/** Adds the group. */
export function addSpecCommands(program: Command, context: ProgramContext): void {
  const group = addGroup(program, 'spec', 'Write and check pipelines.');
  addLeaf(group, context, {
    name: 'init',
    summary: 'Print a pipeline to start from.',
    examples: ['tileloom spec init > pipeline.yaml'],
    run: ({ output }) => {
      output.document('tileloom.cli.spec-init/1', { spec: STARTER }, () => STARTER.trimEnd());
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'validate',
    summary: 'Check a pipeline and report every problem at once.',
    args: [['<spec>', 'YAML or JSON file, or - for standard input']],
    examples: [
      'tileloom spec validate pipeline.yaml',
      'tileloom spec validate pipeline.yaml -o json',
    ],
    run: async ({ io, output }, [path = '']) => {
      const { spec, digest, warnings } = await loadSpec(io, path);
      if (warnings.length > 0) {
        output.note(renderSpecProblems(warnings));
      }
      output.document(
        'tileloom.cli.spec-validate/1',
        { valid: true, specDigest: digest, warnings, spec },
        () =>
          formatFacts([
            ['pipeline', spec.name],
            ['steps', spec.steps.map((step) => step.kind).join(', ')],
            ['memory', formatBytes(spec.limits.memoryBytesMax)],
            ['digest', digest],
          ]),
      );
      return undefined;
    },
  });
  addLeaf(group, context, {
    name: 'schema',
    summary: 'Print the JSON Schema of a pipeline (draft 2020-12), for editors.',
    examples: ['tileloom spec schema > pipeline.schema.json'],
    run: ({ output }) => {
      const schema = specJsonSchema();
      output.document('tileloom.cli.spec-schema/1', { jsonSchema: schema }, () =>
        JSON.stringify(schema, null, 2),
      );
      return undefined;
    },
  });
}
