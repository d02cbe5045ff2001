// Owns how packing is refused: what is wrong, for a reader who needs no stack.

export class PackError extends Error {}
