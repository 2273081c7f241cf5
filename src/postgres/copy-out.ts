// COPY … TO STDOUT on pg's connection, its rows taken from the socket's bytes. Through the client's parser each of them costs
// an object, a view and an event, and each chunk of the socket a buffer of twice its size; through pg-copy-streams more still.
import type { Connection, Submittable } from "pg";

/** Takes the bytes [start, end) of one CopyData message, which are the socket's and valid during the call only. false: no more is wanted. */
export type CopyTaker = (bytes: Buffer, start: number, end: number) => boolean;

/** A query as pg's Client runs it: submitted once, then told of each message of the server's answer but CopyData. */
export class CopyOut implements Submittable {
  /** true: all messages came; false: `take` wanted no more, and the server may still be sending. Rejects with what went wrong. */
  readonly ended: Promise<boolean>;
  readonly #sql: string;
  readonly #take: CopyTaker;
  #over = false;
  #settle: (complete: boolean) => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(sql: string, take: CopyTaker) {
    this.#sql = sql;
    this.#take = take;
    this.ended = new Promise((resolve, reject) => {
      this.#settle = resolve;
      this.#fail = reject;
    });
    this.ended.catch(() => undefined); // whoever waits is told; a session that is disposed of meanwhile waits no more
  }

  submit(connection: Connection): void {
    new CopyTap(connection.stream, (bytes, start, end) => this.#row(bytes, start, end));
    connection.query(this.#sql);
  }

  #row(bytes: Buffer, start: number, end: number): void {
    if (this.#over) return;
    try {
      if (this.#take(bytes, start, end)) return;
      this.#over = true;
      this.#settle(false);
    } catch (error) {
      this.handleError(error); // thrown on, it would surface in the socket's event and end the process
    }
  }

  handleError(error: unknown): void {
    this.#over = true;
    this.#fail(error);
  }

  handleReadyForQuery(): void {
    this.#settle(true);
  }

  handleCommandComplete(): void {
    // its row count is known
  }
}

/* Message ::= type Byte1  length Int32 (its own four bytes and what follows)  body Byte[length − 4]
 * CopyData is of type 'd'; ReadyForQuery, 'Z', ends the answer to a query. PostgreSQL manual, "Message Formats". */
const HEADER_BYTES = 5;
const COPY_DATA = 0x64;
const READY_FOR_QUERY = 0x5a;

type DataListener = (bytes: Buffer) => void;

/**
 * Stands between a socket and whoever listens to its data, until the answer to the next query is over: the bodies of CopyData
 * go to `take`, all other messages, whole, to the listeners. They must hold no half of a message when it begins.
 */
class CopyTap {
  readonly #stream: NodeJS.ReadableStream;
  readonly #take: (bytes: Buffer, start: number, end: number) => void;
  readonly #listeners: readonly DataListener[];
  /** Of a message that has not come whole. */
  #pieces: Buffer[] = [];
  #have = 0;
  readonly #onData = (chunk: Buffer): void => this.#chunk(chunk);

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
