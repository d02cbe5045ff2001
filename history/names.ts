// Owns how workflow ids are read back into runs and shards: `tileloom/<run>` and `tileloom/<run>/shard-<n>`.
// The workflows room builds them; this room may import its types only, so a test holds the two together.

export function runWorkflowIdOf(runId: string): string {
  return `tileloom/${runId}`;
}

/** The shard that a workflow id names, or null. */
export function shardOfWorkflow(workflowId: string): number | null {
  const match = /^tileloom\/[^/]+\/shard-(\d{1,6})$/.exec(workflowId);
  return match === null ? null : Number(match[1]);
}
