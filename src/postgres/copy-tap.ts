// Takes the bodies of CopyData from a socket's bytes. Through pg's parser each of them costs an object, two views and two events, and
// a message that is cut by the end of a chunk a buffer of twice the chunk's size.

/* Message ::= type Byte1  length Int32 (its own four bytes and what follows)  body Byte[length − 4]
 * CopyData is of type 'd'; ReadyForQuery, 'Z', ends the answer to a query. PostgreSQL manual, "Message Formats". */
const HEADER_BYTES = 5;
const COPY_DATA = 0x64;
const READY_FOR_QUERY = 0x5a;

type DataListener = (bytes: Buffer) => void;

/**
 * Stands between a socket and whoever listens to its data, until the answer to the next query is over: the bodies of CopyData
 * go to `take`, all other messages, whole, to the listeners. They must hold no half of a message when it begins. The bytes that
 * `take` gets, [start, end), are the socket's and valid during the call only; what it throws surfaces in the socket's event.
 */
export class CopyTap {
  readonly #stream: NodeJS.ReadableStream;
  readonly #take: (bytes: Buffer, start: number, end: number) => void;
  readonly #listeners: readonly DataListener[];
  /** Of a message that has not come whole. */
  #pieces: Buffer[] = [];
  #have = 0;
  readonly #onData = (chunk: Buffer): void => this.#chunk(chunk);
  #over = false;

  constructor(stream: NodeJS.ReadableStream, take: (bytes: Buffer, start: number, end: number) => void) {
    this.#stream = stream;
    this.#take = take;
    this.#listeners = stream.listeners("data") as DataListener[];
    for (const listener of this.#listeners) stream.off("data", listener);
    stream.on("data", this.#onData);
  }

  #chunk(chunk: Buffer): void {
    let bytes = chunk;
    let at = 0;
    const [first] = this.#pieces;
    if (first !== undefined) {
      const missing = first.length < HEADER_BYTES ? chunk.length : messageBytes(first, 0) - this.#have;
      this.#pieces.push(missing < chunk.length ? chunk.subarray(0, missing) : chunk);
      this.#have += Math.min(missing, chunk.length);
      if (missing > chunk.length) return;
      const joined = Buffer.concat(this.#pieces.splice(0), this.#have); // once, however many chunks a row is long
      if (first.length < HEADER_BYTES) bytes = joined;
      else {
        this.#messages(joined, 0);
        at = missing;
        if (this.#over) {
          this.#pass(chunk.subarray(at));
          return;
        }
      }
    }
    at = this.#messages(bytes, at);
    if (at === bytes.length) return;
    this.#pieces = [bytes.subarray(at)];
    this.#have = bytes.length - at;
  }

  /** Where the first message begins that is not whole. */
  #messages(bytes: Buffer, from: number): number {
    let at = from;
    while (bytes.length - at >= HEADER_BYTES) {
      const end = at + messageBytes(bytes, at);
      if (end > bytes.length) break;
      if (bytes[at] === COPY_DATA) this.#take(bytes, at + HEADER_BYTES, end);
      else if (bytes[at] !== READY_FOR_QUERY) this.#pass(bytes.subarray(at, end));
      else {
        this.#over = true;
        this.#stream.off("data", this.#onData);
        for (const listener of this.#listeners) this.#stream.on("data", listener);
        this.#pass(bytes.subarray(at)); // what may follow is theirs again, halves of messages too
        return bytes.length;
      }
      at = end;
    }
    return at;
  }

  #pass(bytes: Buffer): void {
    for (const listener of this.#listeners) listener.call(this.#stream, bytes);
  }
}

function messageBytes(bytes: Buffer, at: number): number {
  return 1 + bytes.readUInt32BE(at + 1);
}
