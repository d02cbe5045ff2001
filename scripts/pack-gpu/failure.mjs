// Owns how packing is refused: what is wrong, for a reader who needs no stack.

export class PackError extends Error {
  /** Exit status of the process. */
  status = 1;
}

/** A command line that cannot be followed. */
export class PackUsageError extends PackError {
  status = 2;
}
