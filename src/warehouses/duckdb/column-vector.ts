// One column of a data chunk: values are written as DuckDB lays them out in memory, and go there with a copy a column.
import duckdb from "@duckdb/node-bindings";
import { decimalText, unscaledOf } from "../../core/decimal.ts";
import { ValueRefused, type ColumnWriter } from "../../core/staged-rows.ts";
import { DATE_INFINITY, DATE_MINUS_INFINITY, geometricFields, type ColumnType, type FigureKind } from "../../core/table.ts";
import { mendedUtf8 } from "../utf8.ts";
import { UUID_BYTES, writeUuid } from "../uuid.ts";
import { columnType, MAX_DECIMAL_PRECISION } from "./dialect.ts";

/** Rows in one of DuckDB's vectors. */
export const CHUNK_ROWS = 2048;

/* string_t ::= length Uint32  (bytes × 12, zeros behind them | prefix × 4  pointer Uint64), the first where they fit. duckdb.h: duckdb_string_t */
const STRING_BYTES = 16;
const INLINE_BYTES = 12;
/** Bytes up to which a loop beats Buffer.copy. */
const SHORT_COPY = 32;
const FEWEST_HEAP_BYTES = 16 * 1024;

/* list_entry_t ::= offset Uint64  length Uint64, in items of the list vector's child. duckdb.h: duckdb_list_entry */
const ENTRY_BYTES = 16;

/**
 * Written row after row and flushed at most CHUNK_ROWS later (the items of lists: when their lists are), over and over. All numbers are little-endian, as on every machine that
 * DuckDB has a binding for. The strings that do not fit into their string_t go into the vector's own memory with one call
 * for all of them; a call for each costs more than the rest of the loading.
 */
export class ColumnVector implements ColumnWriter {
  readonly #type: ColumnType;
  /** Bytes of one value. */
  readonly #width: number;
  readonly #isDate: boolean;
  readonly #isTimestamp: boolean;
  readonly #isUuid: boolean;
  /** Of a struct, whose own data are nothing: its columns, each with a value a row. */
  readonly #fields: readonly ColumnVector[];
  /** Of a list: its items, one list's behind the other's. */
  readonly #items: ColumnVector | null;
  /** Of a map, which is a list of structs: their two columns. */
  readonly #pairs: { readonly keys: ColumnVector; readonly values: ColumnVector } | null;
  #data: Buffer;
  #shorts: Int16Array;
  #ints: Int32Array;
  #validity = Buffer.alloc(CHUNK_ROWS / 8, 0xff);
  /** Values that there is room for. */
  #capacity = CHUNK_ROWS;
  #hasNulls = false;
  #rows = 0;
  /** What the long strings' pointers will point to, instead of which they hold the offset in it. */
  #heap = Buffer.alloc(0);
  #heapEnd = 0;

  constructor(type: ColumnType) {
    this.#type = type;
    this.#width = widthOf(type);
    this.#isDate = type.kind === "date";
    this.#isTimestamp = type.kind === "timestamp" || type.kind === "timestamptz";
    this.#isUuid = type.kind === "uuid";
    const item = itemOf(type);
    this.#items = item === null ? null : new ColumnVector(item);
    this.#fields = fieldsOf(type).map((field) => new ColumnVector(field));
    this.#pairs = type.kind === "hstore" ? { keys: new ColumnVector({ kind: "text" }), values: new ColumnVector({ kind: "text" }) } : null;
    this.#data = Buffer.alloc(CHUNK_ROWS * this.#width);
    this.#shorts = shortsOf(this.#data);
    this.#ints = intsOf(this.#data);
  }

  null(): void {
    const row = this.#rows++;
    this.#hasNulls = true;
    this.#validity[row >> 3]! &= ~(1 << (row & 7));
    for (let index = 0; index < this.#fields.length; index++) this.#fields[index]!.null();
    if (this.#width !== STRING_BYTES) return;
    this.#ints[row * 4] = 0; // no pointer of a row before
    this.#ints[row * 4 + 2] = 0; // nor a list's length
  }

  bool(value: boolean): void {
    this.#data[this.#rows++] = value ? 1 : 0;
  }

  int(value: number): void {
    // DuckDB's infinities are the largest number and its negative, not the smallest one.
    if (this.#width === 4) this.#ints[this.#rows++] = this.#isDate && value === DATE_MINUS_INFINITY ? -DATE_INFINITY : value;
    else if ((value << 16) >> 16 === value) this.#shorts[this.#rows++] = value;
    else throw new ValueRefused(`${value} is out of range for SMALLINT`);
  }

  long(high: number, low: number): void {
    const at = this.#rows++ * 2;
    this.#ints[at] = this.#isTimestamp && low === 0 && high === -0x8000_0000 ? 1 : low;
    this.#ints[at + 1] = high;
  }

  float(bytes: Buffer, at: number): void {
    this.#copy(bytes, at, 4);
  }

  double(bytes: Buffer, at: number): void {
    this.#copy(bytes, at, 8);
  }

  doubles(bytes: Buffer, start: number): void {
    this.#rows++;
    const fields = this.#fields;
    for (let index = 0; index < fields.length; index++) fields[index]!.double(bytes, start + 8 * index);
  }

  points(count: number): ColumnVector {
    return this.list(count);
  }

  path(isClosed: boolean, count: number): ColumnVector {
    this.#rows++;
    const [closed, points] = this.#fields;
    closed!.bool(isClosed);
    return points!.list(count);
  }

  decimal(bytes: Buffer, start: number, end: number): void {
    if (!("precision" in this.#type) || this.#type.precision > MAX_DECIMAL_PRECISION) return this.#decimalText(bytes, start, end);
    const width = this.#width;
    if (end - start > width) throw new ValueRefused(`a value is out of range for ${columnType(this.#type)}`);
    const data = this.#data;
    let to = this.#rows++ * width;
    const sign = bytes[start]! > 0x7f ? 0xff : 0;
    const behind = to + width;
    for (let from = end - 1; from >= start; from--) data[to++] = bytes[from]!;
    while (to < behind) data[to++] = sign;
  }

  text(bytes: Buffer, start: number, end: number): void {
    if (this.#isUuid) return this.#uuid(bytes, start, end);
    const mended = mendedUtf8(bytes, start, end);
    if (mended === null) this.bytes(bytes, start, end);
    else this.bytes(mended, 0, mended.length);
  }

  bytes(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    const at = this.#rows++ * STRING_BYTES;
    const ints = this.#ints;
    const data = this.#data;
    ints[at >> 2] = length;
    if (length <= INLINE_BYTES) {
      ints[(at >> 2) + 1] = 0;
      ints[(at >> 2) + 2] = 0;
      ints[(at >> 2) + 3] = 0;
      for (let from = start, to = at + 4; from < end; from++) data[to++] = bytes[from]!;
      return;
    }
    for (let index = 0; index < 4; index++) data[at + 4 + index] = bytes[start + index]!;
    ints[(at >> 2) + 2] = this.#heapEnd;
    if (this.#heapEnd + length > this.#heap.length) this.#growHeap(length);
    if (length > SHORT_COPY) bytes.copy(this.#heap, this.#heapEnd, start, end);
    else for (let from = start, to = this.#heapEnd; from < end; from++) this.#heap[to++] = bytes[from]!;
    this.#heapEnd += length;
  }

  list(count: number): ColumnVector {
    const items = this.#items!;
    this.#enter(items.#rows, count);
    if (items.#rows + count > items.#capacity) items.#grow(count);
    return items;
  }

  endList(): void {
    // its length is known since list()
  }

  map(count: number): { readonly keys: ColumnVector; readonly values: ColumnVector } {
    const pairs = this.#pairs!;
    const { keys, values } = pairs;
    this.#enter(keys.#rows, count);
    if (keys.#rows + count > keys.#capacity) {
      keys.#grow(count);
      values.#grow(count);
    }
    return pairs;
  }

  endMap(): void {
    // as endList()
  }

  record(): readonly ColumnVector[] {
    this.#rows++;
    return this.#fields;
  }

  endRecord(): void {
    // each of its columns has its value
  }

  #enter(first: number, count: number): void {
    const at = this.#rows++ * (ENTRY_BYTES / 4);
    const ints = this.#ints;
    ints[at] = first;
    ints[at + 1] = 0;
    ints[at + 2] = count;
    ints[at + 3] = 0;
  }

  /** Moves what was written into the vector, and begins anew. */
  flush(vector: duckdb.Vector): void {
    for (const [index, field] of this.#fields.entries()) field.flush(duckdb.struct_vector_get_child(vector, index));
    if (this.#items !== null) this.#items.flush(childOf(vector, this.#items.#rows));
    if (this.#pairs !== null) {
      const { keys, values } = this.#pairs;
      const structs = childOf(vector, keys.#rows);
      keys.flush(duckdb.struct_vector_get_child(structs, 0));
      values.flush(duckdb.struct_vector_get_child(structs, 1));
    }
    if (this.#heapEnd > 0) this.#moveHeap(vector);
    if (this.#width > 0) copyTo(vector, this.#data, this.#rows * this.#width);
    if (this.#hasNulls) {
      duckdb.vector_ensure_validity_writable(vector);
      const { buffer, byteOffset } = this.#validity;
      duckdb.copy_data_to_vector_validity(vector, 0, buffer, byteOffset, (this.#rows + 7) >> 3);
      this.#validity.fill(0xff);
      this.#hasNulls = false;
    }
    this.#rows = 0;
  }

  #grow(more: number): void {
    for (const field of this.#fields) field.#grow(more);
    this.#capacity = Math.max(this.#capacity * 2, Math.ceil((this.#rows + more) / 8) * 8);
    const data = Buffer.alloc(this.#capacity * this.#width);
    this.#data.copy(data);
    const validity = Buffer.alloc(this.#capacity / 8, 0xff);
    this.#validity.copy(validity);
    this.#data = data;
    this.#shorts = shortsOf(data);
    this.#ints = intsOf(data);
    this.#validity = validity;
  }

  #copy(bytes: Buffer, at: number, width: number): void {
    let to = this.#rows++ * width;
    for (let from = at; from < at + width; from++) this.#data[to++] = bytes[from]!;
  }

  /** DuckDB's uuid is a 128-bit integer whose highest bit is flipped, so that its order is the text's. */
  #uuid(text: Buffer, start: number, end: number): void {
    if (!writeUuid(text, start, end, UUID, 0)) throw new ValueRefused(`${text.toString("utf8", start, end)} is no UUID`);
    UUID[0]! ^= 0x80;
    const at = this.#rows++ * UUID_BYTES;
    for (let byte = 0; byte < UUID_BYTES; byte++) this.#data[at + UUID_BYTES - 1 - byte] = UUID[byte]!;
  }

  #decimalText(bytes: Buffer, start: number, end: number): void {
    const scale = "scale" in this.#type ? this.#type.scale : 0;
    const text = Buffer.from(decimalText(unscaledOf(bytes, start, end), scale), "latin1");
    this.bytes(text, 0, text.length);
  }

  #growHeap(more: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(FEWEST_HEAP_BYTES, this.#heap.length * 2, this.#heapEnd + more));
    this.#heap.copy(grown, 0, 0, this.#heapEnd);
    this.#heap = grown;
  }

  /** The vector makes one string of all; the long strings are parts of it, which stay where they are until the chunk is reset. */
  #moveHeap(vector: duckdb.Vector): void {
    duckdb.vector_assign_string_element_len(vector, 0, this.#heap.subarray(0, this.#heapEnd));
    const first = Buffer.from(duckdb.vector_get_data(vector, STRING_BYTES));
    const low = first.readUInt32LE(8);
    const high = first.readUInt32LE(12);
    const ints = this.#ints;
    for (let at = 0; at < this.#rows * 4; at += 4) {
      if (ints[at]! >>> 0 <= INLINE_BYTES) continue;
      const sum = low + ints[at + 2]!;
      ints[at + 2] = sum;
      ints[at + 3] = sum > 0xffff_ffff ? high + 1 : high;
    }
    this.#heapEnd = 0;
  }
}

const UUID = Buffer.alloc(UUID_BYTES);

function shortsOf({ buffer, byteOffset, length }: Buffer): Int16Array {
  return new Int16Array(buffer, byteOffset, length >> 1);
}

function intsOf({ buffer, byteOffset, length }: Buffer): Int32Array {
  return new Int32Array(buffer, byteOffset, length >> 2);
}

/** A list vector's child, with room for so many items. */
function childOf(list: duckdb.Vector, items: number): duckdb.Vector {
  duckdb.list_vector_reserve(list, items);
  duckdb.list_vector_set_size(list, items);
  return duckdb.list_vector_get_child(list);
}

function copyTo(vector: duckdb.Vector, { buffer, byteOffset }: Buffer, bytes: number): void {
  duckdb.copy_data_to_vector(vector, 0, buffer as ArrayBuffer, byteOffset, bytes);
}

/** Of a list's items; null: it is none. */
function itemOf(type: ColumnType): ColumnType | null {
  if (type.kind === "array") return type.element;
  if (type.kind === "vector") return { kind: "float4" };
  return type.kind === "polygon" ? { kind: "point" } : null;
}

/** Of a struct's columns. */
function fieldsOf(type: ColumnType): readonly ColumnType[] {
  const { kind } = type;
  if (type.kind === "composite") return type.attributes.map((attribute) => attribute.type);
  if (kind === "path") return [{ kind: "bool" }, { kind: "polygon" }];
  return kind in geometricFields ? geometricFields[kind as FigureKind].map(() => ({ kind: "float8" })) : [];
}

/** Of DuckDB's own type for a kind (dialect's `columnType`). */
function widthOf(type: ColumnType): number {
  switch (type.kind) {
    case "bool":
      return 1;
    case "int2":
      return 2;
    case "int4":
    case "float4":
    case "date":
      return 4;
    case "int8":
    case "oid":
    case "float8":
    case "time":
    case "timestamp":
    case "timestamptz":
      return 8;
    case "decimal":
    case "money":
      return type.precision <= 4 ? 2 : type.precision <= 9 ? 4 : type.precision <= 18 ? 8 : 16;
    case "uuid":
      return UUID_BYTES;
    case "numeric":
    case "text":
    case "enum":
    case "json":
    case "jsonb":
    case "xml":
    case "bytea":
    case "geometry":
    case "interval":
    case "jsonpath":
    case "timetz":
    case "inet":
    case "cidr":
    case "macaddr":
    case "macaddr8":
    case "bit":
    case "tsvector":
    case "ltree":
    case "pg_lsn":
    case "xid":
    case "xid8":
    case "range":
    case "other":
      return STRING_BYTES;
    case "array":
    case "hstore":
    case "vector":
    case "polygon":
      return ENTRY_BYTES;
    case "point":
    case "line":
    case "lseg":
    case "box":
    case "path":
    case "circle":
    case "composite":
      return 0;
  }
}
