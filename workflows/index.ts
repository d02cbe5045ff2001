export { runWorkflow } from './run.ts';
export { shardWorkflow } from './shard.ts';
