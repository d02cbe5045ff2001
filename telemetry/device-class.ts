// Owns how classes of GPUs are called: history keys, snapshots and records all use this name.

/**
 * Class of a GPU.
 *
 * @param capability 90 is compute capability 9.0
 */
export function gpuClassOf(capability: number): string {
  return `gpu-sm${String(capability)}`;
}
