// Owns the preparation of a layer on a thread of its own: one ring of 10^7 vertices keeps a core busy
// for a minute without a turn, and the worker's main thread must go on heartbeating.
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { EngineError, isEngineError, type ErrorDetails } from '../core/index.ts';
import { prepareLayer, type PreparedLayer, type PrepareLayerOptions } from '../datasets/index.ts';
import type { LayerSpec } from '../spec/index.ts';

interface LayerJob {
  readonly spec: LayerSpec;
  readonly options: PrepareLayerOptions;
}

interface WireError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: ErrorDetails;
}

type LayerReply = { readonly layer: PreparedLayer } | { readonly error: WireError };

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../dist/activities/layer-thread.js' : './layer-thread.js',
    import.meta.url,
  ),
);

/** Prepares a layer off the main thread. @throws what `prepareLayer` throws, as EngineError */
export async function prepareLayerOnThread(
  spec: LayerSpec,
  options: PrepareLayerOptions,
): Promise<PreparedLayer> {
  const job: LayerJob = { spec, options };
  const thread = new Worker(ENTRY, { workerData: job });
  try {
    const reply = await new Promise<LayerReply>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', (code) => reject(new Error(`the layer thread ended with ${code}`)));
    });
    if ('layer' in reply) return reply.layer;
    const { code, message, ...rest } = reply.error;
    throw new EngineError(code, message, rest);
  } finally {
    await thread.terminate();
  }
}

async function serve(port: NonNullable<typeof parentPort>): Promise<void> {
  const { spec, options } = workerData as LayerJob;
  let reply: LayerReply;
  try {
    reply = { layer: await prepareLayer(spec, options) };
  } catch (error) {
    if (!isEngineError(error)) throw error;
    const { code, message, retryable, details } = error;
    reply = { error: { code, message, retryable, details } };
  }
  port.postMessage(reply);
}

if (!isMainThread && parentPort !== null) await serve(parentPort);
