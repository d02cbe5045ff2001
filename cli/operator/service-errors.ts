// Owns telling apart what the Temporal client throws. By name and gRPC code, not by class: commands
// that only read errors must not load the client for it.

/** gRPC status codes that matter here. */
export const GRPC = {
  cancelled: 1,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  failedPrecondition: 9,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** gRPC code of an error or of one that caused it; null when none has one. */
export function grpcCodeOf(error: unknown): number | null {
  for (let one: unknown = error, depth = 0; one instanceof Error && depth < 8; depth += 1) {
    const { code } = one as { code?: unknown };
    if (typeof code === 'number') {
      return code;
    }
    one = one.cause;
  }
  return null;
}

/** Whether the service answered that it knows no such execution, or none that is open. */
export function isNotFound(error: unknown): boolean {
  const name = error instanceof Error ? error.name : '';
  return name === 'WorkflowNotFoundError' || grpcCodeOf(error) === GRPC.notFound;
}

/** Deadline, cancellation, a worker that is about to go, or a connection that broke. */
export function isSilence(error: unknown): boolean {
  const silent: readonly unknown[] = [
    GRPC.cancelled,
    GRPC.deadlineExceeded,
    GRPC.failedPrecondition,
    GRPC.unavailable,
  ];
  return silent.includes(grpcCodeOf(error));
}

/** Whether Temporal's own pause of a workflow, which knows nothing of ours, is in the way. */
export function isServerPause(error: unknown): boolean {
  return grpcCodeOf(error) === GRPC.failedPrecondition && /\bpaused\b/iu.test(messagesOf(error));
}

/** Messages of an error and of what caused it. */
export function messagesOf(error: unknown): string {
  const messages: string[] = [];
  for (let one: unknown = error, depth = 0; one instanceof Error && depth < 8; depth += 1) {
    messages.push(one.message);
    one = one.cause;
  }
  return messages.join(': ');
}
