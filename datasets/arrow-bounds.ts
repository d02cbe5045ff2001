// Owns the check that Arrow metadata is well-formed before apache-arrow decodes it: its decoders
// trust the lengths they find, and one wrong byte makes them loop for minutes or exhaust the
// memory. Only what can repeat is checked: each vector must lie inside the bytes, and tables may
// be visited only so often. Layout: flatbuffers internals; field numbers: Arrow's File.fbs,
// Message.fbs, Schema.fbs.

export interface MessageFacts {
  /** 1 schema, 2 dictionary batch, 3 record batch. */
  readonly headerType: number;
  readonly bodyBytes: number;
  readonly isCompressed: boolean;
  readonly isBigEndian: boolean;
}

export interface FooterFacts {
  readonly isBigEndian: boolean;
}

const SCHEMA_HEADER = 1;
const DICTIONARY_HEADER = 2;
const BATCH_HEADER = 3;

const FOOTER = { schema: 1, dictionaries: 2, recordBatches: 3, customMetadata: 4 };
const SCHEMA = { endianness: 0, fields: 1, customMetadata: 2, features: 3 };
const FIELD = { dictionary: 4, children: 5, customMetadata: 6 };
const MESSAGE = { headerType: 1, header: 2, bodyLength: 3, customMetadata: 4 };
const BATCH = { nodes: 1, buffers: 2, compression: 3, variadicCounts: 4 };
const DICTIONARY = { data: 1 };
const BLOCK_BYTES = 24;
const PAIR_BYTES = 16;

/** @throws {RangeError} when a part lies outside the bytes */
export function checkFooterBounds(bytes: Uint8Array): FooterFacts {
  const tables = new Tables(bytes);
  const root = tables.root();
  tables.vector(root, FOOTER.dictionaries, BLOCK_BYTES);
  tables.vector(root, FOOTER.recordBatches, BLOCK_BYTES);
  tables.vector(root, FOOTER.customMetadata, 4);
  const schema = tables.child(root, FOOTER.schema);
  if (schema === null) throw new RangeError('the footer has no schema');
  return { isBigEndian: checkSchema(tables, schema) };
}

/** @throws {RangeError} when a part lies outside the bytes */
export function checkMessageBounds(bytes: Uint8Array): MessageFacts {
  const tables = new Tables(bytes);
  const root = tables.root();
  tables.vector(root, MESSAGE.customMetadata, 4);
  const headerType = tables.byte(root, MESSAGE.headerType);
  const header = tables.child(root, MESSAGE.header);
  if (header === null) throw new RangeError('a message has no header');
  let [isCompressed, isBigEndian] = [false, false];
  if (headerType === SCHEMA_HEADER) isBigEndian = checkSchema(tables, header);
  if (headerType === BATCH_HEADER) isCompressed = checkBatch(tables, header);
  if (headerType === DICTIONARY_HEADER) {
    const data = tables.child(header, DICTIONARY.data);
    if (data === null) throw new RangeError('a dictionary batch has no data');
    isCompressed = checkBatch(tables, data);
  }
  const bodyBytes = tables.long(root, MESSAGE.bodyLength);
  if (bodyBytes < 0 || bodyBytes > Number.MAX_SAFE_INTEGER) {
    throw new RangeError(`a message has a body of ${bodyBytes} bytes`);
  }
  return { headerType, bodyBytes, isCompressed, isBigEndian };
}

/** @returns whether the body is compressed */
function checkBatch(tables: Tables, batch: number): boolean {
  tables.vector(batch, BATCH.nodes, PAIR_BYTES);
  tables.vector(batch, BATCH.buffers, PAIR_BYTES);
  tables.vector(batch, BATCH.variadicCounts, 8);
  return tables.child(batch, BATCH.compression) !== null;
}

/** @returns whether the data is big-endian */
function checkSchema(tables: Tables, schema: number): boolean {
  tables.vector(schema, SCHEMA.customMetadata, 4);
  tables.vector(schema, SCHEMA.features, 8);
  checkFields(tables, schema, SCHEMA.fields, 0);
  return tables.byte(schema, SCHEMA.endianness) === 1;
}

const DEPTH_MAX = 64;

function checkFields(tables: Tables, table: number, slot: number, depth: number): void {
  if (depth > DEPTH_MAX) throw new RangeError(`fields are nested more than ${DEPTH_MAX} deep`);
  for (const field of tables.children(table, slot)) {
    tables.vector(field, FIELD.customMetadata, 4);
    tables.child(field, FIELD.dictionary);
    checkFields(tables, field, FIELD.children, depth + 1);
  }
}

/** Reads flatbuffers tables; every access is checked by DataView. */
class Tables {
  readonly #view: DataView;
  #visits: number;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // Honest metadata needs far fewer looks than it has bytes; offsets that lead back need endless
    // ones.
    this.#visits = 16 * bytes.length;
  }

  root(): number {
    return this.#view.getUint32(0, true);
  }

  byte(table: number, slot: number): number {
    const at = this.#slot(table, slot);
    return at === null ? 0 : this.#view.getUint8(at);
  }

  long(table: number, slot: number): number {
    const at = this.#slot(table, slot);
    return at === null ? 0 : Number(this.#view.getBigInt64(at, true));
  }

  child(table: number, slot: number): number | null {
    const at = this.#slot(table, slot);
    return at === null ? null : at + this.#view.getUint32(at, true);
  }

  /** Start and length of a vector that lies inside the bytes. */
  vector(table: number, slot: number, elementBytes: number): { start: number; length: number } {
    const at = this.child(table, slot);
    if (at === null) return { start: 0, length: 0 };
    const length = this.#view.getUint32(at, true);
    if (at + 4 + length * elementBytes > this.#view.byteLength) {
      throw new RangeError(`a list of ${length} elements exceeds ${this.#view.byteLength} bytes`);
    }
    return { start: at + 4, length };
  }

  /** Tables that a vector of offsets points to. */
  *children(table: number, slot: number): Generator<number> {
    const { start, length } = this.vector(table, slot, 4);
    for (let index = 0; index < length; index += 1) {
      const at = start + 4 * index;
      yield at + this.#view.getUint32(at, true);
    }
  }

  #slot(table: number, slot: number): number | null {
    this.#visits -= 1;
    if (this.#visits < 0) throw new RangeError('metadata refers to itself');
    const vtable = table - this.#view.getInt32(table, true);
    if (4 + 2 * slot >= this.#view.getUint16(vtable, true)) return null;
    const offset = this.#view.getUint16(vtable + 4 + 2 * slot, true);
    return offset === 0 ? null : table + offset;
  }
}
