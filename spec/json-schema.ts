// Owns the JSON Schema of the spec, for editors: generated from the zod shape.
import { z } from 'zod';
import { pipelineShape } from './shape.ts';

/** A JSON Schema document, draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Returns the JSON Schema (draft 2020-12) of a pipeline spec. */
export function specJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(pipelineShape, {
    target: 'draft-2020-12',
    io: 'input',
    override: ({ jsonSchema }) => {
      const keys = Object.keys(jsonSchema.properties ?? {});
      // A step and a measure are objects with exactly one key; zod cannot say so.
      if (keys.join() === 'assign,aggregate' || keys.join() === 'sum,mean,min,max') {
        jsonSchema.minProperties = 1;
        jsonSchema.maxProperties = 1;
      }
    },
  }) as Record<string, unknown>;
  return {
    ...schema,
    $id: 'https://tileloom.dev/schema/pipeline-v1.json',
    title: 'tileloom pipeline, v1',
  };
}
