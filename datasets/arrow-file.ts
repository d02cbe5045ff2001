// Owns random access to Arrow IPC files without reading bodies: footer and batch metadata are
// decoded by apache-arrow, checked against the file's size, and turned into absolute byte ranges.
// I1 no offset leaves this module that was not checked to lie inside the file.
// I2 what kernels cannot take as it is (big-endian, dictionaries, compressed bodies) is refused
//    here.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DataType, type Schema } from 'apache-arrow';
import { Footer } from 'apache-arrow/ipc/metadata/file';
import { Message } from 'apache-arrow/ipc/metadata/message';
import { checkFooterBounds, checkMessageBounds } from './arrow-bounds.ts';
import { DatasetError, fileError, type DatasetErrorCode } from './errors.ts';

/** Byte range of one buffer, absolute in the file. */
export interface BufferRange {
  readonly offset: number;
  readonly length: number;
}

export interface ArrayRange {
  readonly length: number;
  readonly nulls: number;
}

export interface BatchLayout {
  readonly rows: number;
  /** Field nodes and buffers, flattened depth first as Arrow stores them. */
  readonly nodes: readonly ArrayRange[];
  readonly buffers: readonly BufferRange[];
}

const MAGIC = 'ARROW1';
const TAIL_BYTES = 10;
const HEAD_BYTES = 8;
const RECORD_BATCH_HEADER = 3;
const METADATA_BYTES_MAX = 1 << 24;

/** An open Arrow IPC file; reads are synchronous and small. */
export class ArrowFile {
  readonly path: string;
  readonly bytes: number;
  readonly schema: Schema;
  readonly #fd: number;
  /** Triples of offset, metadata length, body length. */
  readonly #blocks: Float64Array;

  private constructor(file: string, fd: number, bytes: number, contents: FooterContents) {
    this.path = file;
    this.#fd = fd;
    this.bytes = bytes;
    this.schema = contents.schema;
    this.#blocks = contents.blocks;
  }

  /**
   * Opens a file and decodes its footer.
   *
   * @param options whether columns may be dictionary-encoded: kernels cannot take them
   * @throws {DatasetError} `ARROW_…` codes, `DATASET_FILE_MISSING`, `IO_FAILED`
   */
  static open(
    file: string,
    { dictionaries }: { readonly dictionaries: boolean } = { dictionaries: false },
  ): ArrowFile {
    let fd: number;
    try {
      fd = openSync(file, 'r');
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw fileError(error, 'opening', file);
      throw new DatasetError(
        'DATASET_FILE_MISSING',
        `${file} is missing: expected an Arrow file, got nothing; restore it or make the ` +
          'dataset again',
        { details: { path: file }, cause: error },
      );
    }
    try {
      const bytes = fstatSync(fd).size;
      const contents = readFooter(file, fd, bytes);
      if (!dictionaries) refuseDictionaries(file, contents);
      return new ArrowFile(file, fd, bytes, contents);
    } catch (error) {
      closeSync(fd);
      throw fileError(error, 'reading', file);
    }
  }

  get batches(): number {
    return this.#blocks.length / 3;
  }

  /** @throws {DatasetError} `ARROW_CORRUPT`, `ARROW_TRUNCATED`, `ARROW_COMPRESSED` */
  layout(batch: number): BatchLayout {
    const offset = this.#blocks[3 * batch];
    const metadataBytes = this.#blocks[3 * batch + 1] ?? 0;
    const bodyBytes = this.#blocks[3 * batch + 2] ?? 0;
    if (offset === undefined) {
      throw problem('ARROW_CORRUPT', this.path, `record batch ${batch}`, `${this.batches} batches`);
    }
    const metadata = readExactly(this.path, this.#fd, offset, metadataBytes);
    return decodeBatch(this.path, metadata, batch, { start: offset + metadataBytes, bodyBytes });
  }

  /** Reads a byte range that a layout named. */
  read(range: BufferRange): Uint8Array {
    return readExactly(this.path, this.#fd, range.offset, range.length);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

interface FooterContents {
  readonly schema: Schema;
  /** Triples of offset, metadata length, body length. */
  readonly blocks: Float64Array;
  readonly dictionaries: number;
}

function refuseDictionaries(file: string, contents: FooterContents): void {
  for (const field of contents.schema.fields) {
    if (!DataType.isDictionary(field.type)) continue;
    throw problem('ARROW_DICTIONARY', file, `plain values in "${field.name}"`, 'a dictionary');
  }
  if (contents.dictionaries > 0) {
    throw problem('ARROW_DICTIONARY', file, 'no dictionaries', String(contents.dictionaries));
  }
}

function readFooter(file: string, fd: number, bytes: number): FooterContents {
  if (bytes === 0) throw problem('ARROW_TRUNCATED', file, 'an Arrow IPC file', 'an empty file');
  const head = readExactly(file, fd, 0, Math.min(HEAD_BYTES, bytes));
  if (latin1(head.subarray(0, 6)) !== MAGIC) {
    throw problem('ARROW_NOT_ARROW', file, `the magic ${MAGIC}`, `"${printable(head)}"`);
  }
  const least = HEAD_BYTES + TAIL_BYTES;
  if (bytes < least) throw problem('ARROW_TRUNCATED', file, `${least} bytes or more`, `${bytes}`);
  const tail = readExactly(file, fd, bytes - TAIL_BYTES, TAIL_BYTES);
  if (latin1(tail.subarray(4)) !== MAGIC) {
    throw problem('ARROW_TRUNCATED', file, `the magic ${MAGIC} at the end`, `"${printable(tail)}"`);
  }
  const length = new DataView(tail.buffer, tail.byteOffset).getInt32(0, true);
  if (length < 8 || length > bytes - least) {
    throw problem('ARROW_CORRUPT', file, `a footer within ${bytes} bytes`, `${length} bytes of it`);
  }
  const raw = readExactly(file, fd, bytes - TAIL_BYTES - length, length);
  if (decoding(file, 'footer', () => checkFooterBounds(raw)).isBigEndian) {
    throw problem('ARROW_ENDIANNESS', file, 'little-endian data', 'big-endian data');
  }
  return decodeFooter(file, raw, bytes - TAIL_BYTES - length);
}

function decodeFooter(file: string, raw: Uint8Array, dataEnd: number): FooterContents {
  const footer = decoding(file, 'footer', () => Footer.decode(raw));
  const batches = footer.numRecordBatches;
  // A block is 24 bytes, so a footer that lies about their number is found before any is decoded.
  if (batches < 0 || batches * 24 > raw.length) {
    throw problem(
      'ARROW_CORRUPT',
      file,
      `at most ${Math.floor(raw.length / 24)} batches`,
      `${batches}`,
    );
  }
  const blocks = new Float64Array(3 * batches);
  for (let batch = 0; batch < batches; batch += 1) {
    const block = decoding(file, `block ${batch}`, () => footer.getRecordBatch(batch));
    const { offset = -1, metaDataLength = -1, bodyLength = -1 } = block ?? {};
    const sane = offset >= HEAD_BYTES && metaDataLength >= 8 && bodyLength >= 0;
    if (
      !sane ||
      metaDataLength > METADATA_BYTES_MAX ||
      offset + metaDataLength + bodyLength > dataEnd
    ) {
      const end = offset + metaDataLength + bodyLength;
      throw problem(
        'ARROW_TRUNCATED',
        file,
        `batch ${batch} before byte ${dataEnd}`,
        `an end at ${end}`,
      );
    }
    blocks.set([offset, metaDataLength, bodyLength], 3 * batch);
  }
  return { schema: footer.schema, blocks, dictionaries: footer.numDictionaries };
}

function decodeBatch(
  file: string,
  metadata: Uint8Array,
  batch: number,
  body: { readonly start: number; readonly bodyBytes: number },
): BatchLayout {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.byteLength);
  const skip = view.getInt32(0, true) === -1 ? 8 : 4;
  const bytes = metadata.subarray(skip);
  const facts = decoding(file, `batch ${batch}`, () => checkMessageBounds(bytes));
  if (facts.isCompressed) {
    throw problem('ARROW_COMPRESSED', file, `an uncompressed batch ${batch}`, 'a compressed body');
  }
  const message = decoding(file, `batch ${batch}`, () => Message.decode(bytes));
  if (Number(message.headerType) !== RECORD_BATCH_HEADER) {
    throw problem('ARROW_CORRUPT', file, `a record batch as batch ${batch}`, 'another message');
  }
  const header = decoding(file, `batch ${batch}`, () => message.header()) as {
    readonly length: number;
    readonly nodes: readonly { readonly length: number; readonly nullCount: number }[];
    readonly buffers: readonly { readonly offset: number; readonly length: number }[];
  };
  const buffers = header.buffers.map(({ offset, length }, index) => {
    if (offset < 0 || length < 0 || offset + length > body.bodyBytes) {
      const got = `${offset} + ${length}`;
      throw problem(
        'ARROW_CORRUPT',
        file,
        `buffer ${index} of batch ${batch} inside its body`,
        got,
      );
    }
    return { offset: body.start + offset, length };
  });
  const nodes = header.nodes.map((node) => ({ length: node.length, nulls: node.nullCount }));
  return { rows: header.length, nodes, buffers };
}

function decoding<T>(file: string, what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof DatasetError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw problem('ARROW_CORRUPT', file, `a readable ${what}`, message, error);
  }
}

function readExactly(file: string, fd: number, offset: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const got = readSync(fd, out, at, length - at, offset + at);
    if (got === 0) throw problem('ARROW_TRUNCATED', file, `${length} bytes at ${offset}`, `${at}`);
    at += got;
  }
  return out;
}

const REMEDY: Partial<Record<DatasetErrorCode, string>> = {
  ARROW_ENDIANNESS: 'write it again on a little-endian machine',
  ARROW_COMPRESSED: 'write it without compression or convert it with `tileloom dataset convert`',
  ARROW_DICTIONARY: 'write the column without dictionary encoding',
  ARROW_NOT_ARROW: 'convert it with `tileloom dataset convert`',
};

function problem(
  code: DatasetErrorCode,
  file: string,
  expected: string,
  got: string,
  cause?: unknown,
): DatasetError {
  const remedy = REMEDY[code] ?? 'restore the file or write it again';
  const message = `${file} cannot be read: expected ${expected}, got ${got}; ${remedy}`;
  return new DatasetError(code, message, { details: { path: file, expected, got }, cause });
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function printable(bytes: Uint8Array): string {
  return latin1(bytes).replaceAll(/[^\x20-\x7e]/gu, '.');
}
