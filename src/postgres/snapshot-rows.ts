// A chunk's rows: the tuples of COPY's binary format, one behind the other in one buffer. No object for any of them.
import { TailraceError } from "../core/errors.ts";
import { isReadAsText } from "../core/read-as.ts";
import type { Column } from "../core/table.ts";
import { tupleState, type Tuple } from "../core/tuple.ts";

/* CopyData, in the order in which they come ::= CopyFileHeader [ Tuple ]  { Tuple }  CopyFileTrailer
 * CopyFileHeader ::= 'PGCOPY\n' 0xFF '\r\n' 0x00  flags Int32  extension_length Int32  extension Byte[extension_length]
 * Tuple ::= fields Int16  { length Int32 (-1: null)  value Byte[length] }
 * CopyFileTrailer ::= -1 Int16
 * PostgreSQL manual, "COPY", Binary Format; "Message Flow", COPY Operations: every CopyData message is one row. */
const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
const HEADER_BYTES = SIGNATURE.length + 8;
/** Bit 16: rows with OIDs, of old servers. Bits above may change the format, those below may not. */
const CRITICAL_FLAGS = 0xffff_0000;

const FIRST_BYTES = 64 * 1024;
const FIRST_ROWS = 1024;
/** Row starts are Int32, and one row, which may be alone in a buffer beyond its limit, is below 1 GiB (PostgreSQL's limit of a message). */
const MOST_BYTES = 2 ** 30;

/** What chunks keep their rows in, one after the other: fresh buffers for each would have the garbage collector run for every few of them. */
export class ChunkMemory {
  bytes: Buffer = Buffer.alloc(0);
  starts: Int32Array = new Int32Array(FIRST_ROWS);
}

export class ChunkRows {
  /** Rows taken. */
  count = 0;
  /** Bytes of the rows taken. */
  length = 0;
  readonly #memory: ChunkMemory;
  #bytes: Buffer;
  /** Where each row begins; one behind the last is where it ends. */
  #starts: Int32Array;
  /** Per column the state of a value that is there: tupleState.text or binary. */
  readonly #forms: Uint8Array;
  readonly #limit: number;
  #headed = false;
  #ended = false;

  /** `limitBytes`: at most 1 GiB. One row is taken whatever its size. The rows of the chunk that `memory` was given to before are gone. */
  constructor(columns: readonly Pick<Column, "type" | "sent">[], limitBytes: number, memory: ChunkMemory = new ChunkMemory()) {
    if (!(limitBytes > 0 && limitBytes <= MOST_BYTES)) throw new RangeError(`a chunk of ${limitBytes} bytes`);
    this.#forms = Uint8Array.from(columns, (column) => (isReadAsText(column) ? tupleState.text : tupleState.binary));
    this.#limit = limitBytes;
    this.#memory = memory;
    this.#bytes = memory.bytes;
    this.#starts = memory.starts;
  }

  /** Memory that the rows hold. */
  get memoryBytes(): number {
    return this.#bytes.length + this.#starts.byteLength;
  }

  /** Whether the trailer has come: there are no more rows. */
  get complete(): boolean {
    return this.#ended;
  }

  /** Takes one CopyData message: bytes [start, end), which stay the caller's. false: the row would exceed the limit. Throws STREAM_PROTOCOL. */
  take(message: Buffer, start = 0, end = message.length): boolean {
    let from = start;
    if (!this.#headed) {
      from += readHeader(message.subarray(start, end));
      this.#headed = true;
      if (from === end) return true;
    }
    if (this.#ended || end < from + 2) throw unreadable("COPY goes on behind its end");
    if (message[from] === 0xff && message[from + 1] === 0xff) {
      this.#ended = true;
      return true;
    }
    const length = this.length + end - from;
    if (length > this.#limit && this.count > 0) return false;
    if (length > this.#bytes.length) this.#grow(length);
    if (this.count + 1 === this.#starts.length) this.#growStarts();
    message.copy(this.#bytes, this.length, from, end);
    this.length = length;
    this.#starts[++this.count] = length;
    return true;
  }

  /**
   * Makes `tuple` a view of row `row` (0 to count − 1), in the order of the columns; its bytes are this chunk's. Throws
   * STREAM_PROTOCOL when the row is not laid out as its columns are.
   */
  fillTuple(row: number, tuple: Tuple): void {
    const bytes = this.#bytes;
    const forms = this.#forms;
    const columns = forms.length;
    const end = this.#starts[row + 1]!;
    let at = this.#starts[row]!;
    if (row >= this.count || ((bytes[at]! << 8) | bytes[at + 1]!) !== columns || at + 2 + 4 * columns > end) throw misread(row);
    at += 2;
    tuple.bytes = bytes;
    tuple.columns = columns;
    for (let column = 0; column < columns; column++) {
      if (at + 4 > end) throw misread(row);
      const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
      at += 4;
      if (length === -1) {
        tuple.state[column] = tupleState.null;
        continue;
      }
      if (length < 0 || length > end - at) throw misread(row);
      tuple.state[column] = forms[column]!;
      tuple.start[column] = at;
      tuple.length[column] = length;
      at += length;
    }
    if (at !== end) throw misread(row);
  }

  #grow(need: number): void {
    const doubled = Math.min(Math.max(this.#bytes.length * 2, FIRST_BYTES), this.#limit);
    const grown = Buffer.allocUnsafeSlow(Math.max(doubled, need));
    this.#bytes.copy(grown, 0, 0, this.length);
    this.#bytes = grown;
    if (grown.length <= this.#limit) this.#memory.bytes = grown; // a giant alone in its chunk is not kept for those that follow
  }

  #growStarts(): void {
    const grown = new Int32Array(this.#starts.length * 2);
    grown.set(this.#starts);
    this.#starts = this.#memory.starts = grown;
  }
}

/** Where the header ends. */
function readHeader(message: Buffer): number {
  if (message.length < HEADER_BYTES || !message.subarray(0, SIGNATURE.length).equals(SIGNATURE))
    throw unreadable("COPY does not begin with its signature");
  if ((message.readUInt32BE(SIGNATURE.length) & CRITICAL_FLAGS) !== 0) throw unreadable("COPY has flags that are not known");
  const end = HEADER_BYTES + message.readUInt32BE(SIGNATURE.length + 4);
  if (end > message.length) throw unreadable("COPY's header is cut short");
  return end;
}

function misread(row: number): TailraceError {
  return unreadable(`row ${row} of a chunk is not laid out as its table`);
}

function unreadable(reason: string): TailraceError {
  return new TailraceError("STREAM_PROTOCOL", { reason });
}
