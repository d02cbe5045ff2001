// Owns the preparation of a layer on a thread of its own: a layer of 10^7 vertices keeps a core busy for
// many seconds, and the worker's main thread must go on heartbeating.
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { EngineError, isEngineError, type ErrorDetails } from '../core/index.ts';
import { prepareLayer, type PreparedLayer, type PrepareLayerOptions } from '../datasets/index.ts';
import type { LayerSpec } from '../spec/index.ts';

interface LayerJob {
  readonly spec: LayerSpec;
  readonly options: PrepareLayerOptions;
}

type LayerReply =
  | { readonly layer: PreparedLayer }
  | {
      readonly error: {
        readonly code: string;
        readonly message: string;
        readonly retryable: boolean;
        readonly details: ErrorDetails;
      };
    };

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../dist/activities/layer-thread.js' : './layer-thread.js',
    import.meta.url,
  ),
);

/** Prepares a layer off the main thread. @throws what `prepareLayer` throws, as EngineError */
export async function prepareLayerOnThread(job: LayerJob): Promise<PreparedLayer> {
  const thread = new Worker(ENTRY, { workerData: job });
  const reply = await new Promise<LayerReply>((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`the layer thread ended with code ${code}`)));
  });
  await thread.terminate();
  if ('layer' in reply) return reply.layer;
  const { code, message, retryable, details } = reply.error;
  throw new EngineError(code, message, { retryable, details });
}

async function serve(port: NonNullable<typeof parentPort>): Promise<void> {
  const { spec, options } = workerData as LayerJob;
  try {
    const reply: LayerReply = { layer: await prepareLayer(spec, options) };
    port.postMessage(reply);
  } catch (error) {
    if (!isEngineError(error)) throw error;
    const { code, message, retryable, details } = error;
    const reply: LayerReply = { error: { code, message, retryable, details } };
    port.postMessage(reply);
  }
}

if (!isMainThread && parentPort !== null) await serve(parentPort);
