// Owns walking an Arrow IPC stream message by message, metadata only: what is torn, malformed,
// big-endian or compressed is refused before apache-arrow sees it.
import { open, type FileHandle } from 'node:fs/promises';
import { checkMessageBounds, type MessageFacts } from './arrow-bounds.ts';
import { DatasetError, fileError } from './errors.ts';

const CONTINUATION = 0xffffffff;
const METADATA_BYTES_MAX = 1 << 24;

/**
 * @throws {DatasetError} `ARROW_TRUNCATED`, `ARROW_CORRUPT`, `ARROW_ENDIANNESS`, `ARROW_COMPRESSED`
 */
export async function checkArrowStream(file: string): Promise<void> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw fileError(error, 'opening', file);
  });
  try {
    const { size } = await handle.stat();
    let at = 0;
    for (let message = 0; at < size; message += 1) {
      const next = await checkMessage({ file, handle, size, message }, at);
      // A stream may end by an explicit mark or simply stop between messages.
      if (next === null) return;
      at = next;
    }
  } catch (error) {
    throw fileError(error, 'reading', file);
  } finally {
    await handle.close();
  }
}

interface Walk {
  readonly file: string;
  readonly handle: FileHandle;
  readonly size: number;
  readonly message: number;
}

/** @returns where the next message starts; null behind the end mark */
async function checkMessage(walk: Walk, at: number): Promise<number | null> {
  const { file, message } = walk;
  const prefix = await readAt(walk, at, 8);
  if (prefix.readUInt32LE(0) !== CONTINUATION) {
    throw problem('ARROW_CORRUPT', file, `message ${message} at byte ${at}`, 'other bytes');
  }
  const length = prefix.readInt32LE(4);
  if (length === 0) return null;
  if (length < 8 || length > METADATA_BYTES_MAX) {
    throw problem('ARROW_CORRUPT', file, `metadata of message ${message}`, `${length} bytes`);
  }
  const facts = factsOf(walk, await readAt(walk, at + 8, length));
  if (facts.isBigEndian) {
    throw problem('ARROW_ENDIANNESS', file, 'little-endian data', 'big-endian data');
  }
  if (facts.isCompressed) {
    throw problem(
      'ARROW_COMPRESSED',
      file,
      `an uncompressed message ${message}`,
      'a compressed body',
    );
  }
  const end = at + 8 + length + facts.bodyBytes;
  if (end > walk.size) {
    throw problem('ARROW_TRUNCATED', file, `${end} bytes for message ${message}`, `${walk.size}`);
  }
  return end;
}

function factsOf(walk: Walk, metadata: Buffer): MessageFacts {
  try {
    return checkMessageBounds(metadata);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const expected = `a well-formed message ${walk.message}`;
    throw problem('ARROW_CORRUPT', walk.file, expected, error.message, error);
  }
}

async function readAt(walk: Walk, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await walk.handle.read(Buffer.alloc(length), 0, length, at);
  if (bytesRead === length) return buffer;
  const expected = `${length} bytes of message ${walk.message}`;
  throw problem('ARROW_TRUNCATED', walk.file, expected, `${bytesRead}`);
}

type StreamCode = 'ARROW_CORRUPT' | 'ARROW_TRUNCATED' | 'ARROW_ENDIANNESS' | 'ARROW_COMPRESSED';

const REMEDY: Record<StreamCode, string> = {
  ARROW_CORRUPT: 'restore the file or write it again',
  ARROW_TRUNCATED: 'restore the file or write it again',
  ARROW_ENDIANNESS: 'write it again on a little-endian machine',
  ARROW_COMPRESSED: 'write it without compression',
};

function problem(
  code: StreamCode,
  file: string,
  expected: string,
  got: string,
  cause?: unknown,
): DatasetError {
  const message = `${file} cannot be read: expected ${expected}, got ${got}; ${REMEDY[code]}`;
  return new DatasetError(code, message, { details: { path: file, expected, got }, cause });
}
