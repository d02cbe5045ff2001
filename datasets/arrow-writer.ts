// Owns the framing of Arrow IPC files that tileloom writes: metadata by apache-arrow's own
// encoders, bodies laid out here, because readers map buffers straight into kernels and want them
// 64-byte aligned.
// I1 bytes are a function of the schema and the batches alone; nothing depends on time or write
//    sizes.
// I2 a file appears under its name only when it is whole and on disk (tmp → fsync → rename →
//    fsync).
import { createHash, type Hash } from 'node:crypto';
import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Schema } from 'apache-arrow';
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file';
import { BufferRegion, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { syncFolder, temporaryName } from './durable.ts';
import { fileError } from './errors.ts';

const ALIGNMENT = 64;
const MAGIC = new TextEncoder().encode('ARROW1\0\0');
const CONTINUATION = 0xffffffff;
const METADATA_V5 = 4;

/** One Arrow array in depth-first order: its node and its buffers, validity first. */
export interface ArrayData {
  readonly length: number;
  readonly nulls: number;
  /** Empty where there is nothing to store (no nulls: no validity buffer). */
  readonly buffers: readonly Uint8Array[];
}

export interface WrittenFile {
  /** File name without its folder. */
  readonly file: string;
  /** Empty when the writer was made without a digest. */
  readonly sha256: string;
  readonly bytes: number;
}

/** Writes one Arrow IPC file batch by batch; holds one batch at a time. */
export class ArrowFileWriter {
  readonly path: string;
  readonly #temporary: string;
  readonly #schema: Schema;
  readonly #hash: Hash | null;
  readonly #blocks: FileBlock[] = [];
  readonly #handle: FileHandle;
  #at = 0;

  private constructor(
    file: string,
    temporary: string,
    handle: FileHandle,
    schema: Schema,
    digest: boolean,
  ) {
    this.#hash = digest ? createHash('sha256') : null;
    this.path = file;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#schema = schema;
  }

  /**
   * Opens a temporary file beside `file` and writes the schema.
   *
   * @param options whether to compute the file's SHA-256 on the way
   */
  static async create(
    file: string,
    schema: Schema,
    { digest }: { readonly digest: boolean } = { digest: true },
  ): Promise<ArrowFileWriter> {
    const temporary = temporaryName(file);
    let handle: FileHandle;
    try {
      handle = await open(temporary, 'wx');
    } catch (error) {
      throw fileError(error, 'creating', file);
    }
    const writer = new ArrowFileWriter(file, temporary, handle, schema, digest);
    const message = Message.encode(Message.from(schema));
    await writer.#write([MAGIC, ...frame(message, MAGIC.length)]);
    return writer;
  }

  get batches(): number {
    return this.#blocks.length;
  }

  get bytes(): number {
    return this.#at;
  }

  /** Appends a record batch; `arrays` in depth-first order of the schema's fields. */
  async append(rows: number, arrays: readonly ArrayData[]): Promise<void> {
    const nodes: FieldNode[] = [];
    const regions: BufferRegion[] = [];
    const body: Uint8Array[] = [];
    let length = 0;
    for (const array of arrays) {
      nodes.push(new FieldNode(array.length, array.nulls));
      for (const buffer of array.buffers) {
        regions.push(new BufferRegion(length, buffer.byteLength));
        const padding = paddingOf(buffer.byteLength);
        body.push(buffer, padding);
        length += buffer.byteLength + padding.length;
      }
    }
    const header = new RecordBatch(rows, nodes, regions, null);
    const metadata = frame(Message.encode(Message.from(header, length)), this.#at);
    const metadataBytes = metadata.reduce((sum, piece) => sum + piece.length, 0);
    this.#blocks.push(new FileBlock(metadataBytes, length, this.#at));
    await this.#write([...metadata, ...body]);
  }

  /** Writes the footer, makes the file durable and gives it its name. */
  async finish(): Promise<WrittenFile> {
    const footer = Footer.encode(new Footer(this.#schema, METADATA_V5, this.#blocks, []));
    const end = new Uint8Array(8);
    new DataView(end.buffer).setUint32(0, CONTINUATION, true);
    const tail = new Uint8Array(10);
    new DataView(tail.buffer).setInt32(0, footer.length, true);
    tail.set(MAGIC.subarray(0, 6), 4);
    await this.#write([end, footer, tail]);
    try {
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#temporary, this.path);
      await syncFolder(path.dirname(this.path));
    } catch (error) {
      await this.abort();
      throw fileError(error, 'finishing', this.path);
    }
    const sha256 = this.#hash?.digest('hex') ?? '';
    return { file: path.basename(this.path), sha256, bytes: this.#at };
  }

  /** Removes the temporary file; safe to call more than once. */
  async abort(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await unlink(this.#temporary).catch(() => undefined);
  }

  async #write(pieces: readonly Uint8Array[]): Promise<void> {
    const filled = pieces.filter((piece) => piece.length > 0);
    const expected = filled.reduce((sum, piece) => sum + piece.length, 0);
    try {
      await writeFully(this.#handle, filled);
    } catch (error) {
      await this.abort();
      throw fileError(error, 'writing', this.path);
    }
    for (const piece of filled) this.#hash?.update(piece);
    this.#at += expected;
  }
}

/** writev() may write less than it was given, in particular just before a disk is full. */
async function writeFully(handle: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  let rest = [...pieces];
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest.slice(0, 512));
    let left = bytesWritten;
    let done = 0;
    for (const piece of rest) {
      if (left < piece.length) break;
      left -= piece.length;
      done += 1;
    }
    rest = rest.slice(done);
    const first = rest[0];
    if (left > 0 && first !== undefined) rest[0] = first.subarray(left);
  }
}

/** Encapsulates message metadata so that what follows it starts at a multiple of 64. */
function frame(metadata: Uint8Array, at: number): Uint8Array[] {
  const total = at + 8 + metadata.length;
  const padding = paddingOf(total);
  const prefix = new Uint8Array(8);
  const view = new DataView(prefix.buffer);
  view.setUint32(0, CONTINUATION, true);
  view.setInt32(4, metadata.length + padding.length, true);
  return [prefix, metadata, padding];
}

function paddingOf(bytes: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT);
}
