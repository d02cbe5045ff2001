// Owns the ceilings that other cases are held against: copies on the device and over the link.
import type { BenchCase, Ceilings, Scale } from './bench-case.ts';
import type { Libraries } from './device.ts';
import { ratesOf } from './samples.ts';

export async function measureCeilings(
  { measure }: Libraries,
  { copyBytes, kernelRuns }: Scale,
): Promise<{ readonly ceilings: Ceilings; readonly cases: readonly BenchCase[] }> {
  const copies = await measure.measureCopies('device-copy', copyBytes, kernelRuns);
  const uploads = await measure.measureCopies('upload', copyBytes, kernelRuns);
  const downloads = await measure.measureCopies('download', copyBytes, kernelRuns);
  const caseOf = (name: string, bytes: number, seconds: readonly number[]): BenchCase => ({
    ...{ case: name, unit: 'bytes/s', rows: null },
    ...{ rate: ratesOf(bytes, seconds), facts: { bytes } },
  });
  const cases = [
    caseOf('ceiling: device memory, copied (read + written)', 2 * copyBytes, copies),
    caseOf('ceiling: link, pinned host memory to device', copyBytes, uploads),
    caseOf('ceiling: link, device to pinned host memory', copyBytes, downloads),
  ];
  return {
    cases,
    ceilings: {
      deviceBytesPerSecond: cases[0]?.rate.median ?? 0,
      uploadBytesPerSecond: cases[1]?.rate.median ?? 0,
    },
  };
}
