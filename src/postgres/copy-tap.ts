// Takes the bodies of CopyData from a socket's bytes. Through pg's parser each of them costs an object, two views and two events, and
// a message that is cut by the end of a chunk a buffer of twice the chunk's size.

import { ReadingSocket } from "./reading-socket.ts";

/* Message ::= type Byte1  length Int32 (its own four bytes and what follows)  body Byte[length − 4]
 * CopyData is of type 'd'; ReadyForQuery, 'Z', ends the answer to a query. PostgreSQL manual, "Message Formats". */
const HEADER_BYTES = 5;
const COPY_DATA = 0x64;
const READY_FOR_QUERY = 0x5a;
/** What is kept for messages that are cut by a chunk's end: most rows are shorter. */
const HALF_BYTES = 64 * 1024;

type DataListener = (bytes: Buffer) => void;

/**
 * Stands between a socket and whoever listens to its data, until the answer to the next query is over: the bodies of CopyData
 * go to `take`, all other messages, whole, to the listeners, who may keep them. They must hold no half of a message when it begins.
 * The bytes that `take` gets, [start, end), are valid during the call only, as a chunk of the socket needs to be; what it throws
 * surfaces in the socket's event.
 */
export class CopyTap {
  readonly #stream: NodeJS.ReadableStream;
  readonly #take: (bytes: Buffer, start: number, end: number) => void;
  readonly #listeners: readonly DataListener[];
  /** Begins with the `#have` bytes of a message that has not come whole. */
  #half = Buffer.allocUnsafe(HALF_BYTES);
  #have = 0;
  readonly #onData = (chunk: Buffer): void => this.#chunk(chunk);
  #over = false;

  constructor(stream: NodeJS.ReadableStream, take: (bytes: Buffer, start: number, end: number) => void) {
    this.#stream = stream;
    this.#take = take;
    this.#listeners = stream.listeners("data") as DataListener[];
    for (const listener of this.#listeners) stream.off("data", listener);
    stream.on("data", this.#onData);
    if (stream instanceof ReadingSocket) stream.lends = true;
  }

  #chunk(chunk: Buffer): void {
    let at = 0;
    if (this.#have > 0) {
      at = this.#add(chunk, 0, HEADER_BYTES);
      if (this.#have < HEADER_BYTES) return;
      const whole = messageBytes(this.#half, 0);
      at = this.#add(chunk, at, whole);
      if (this.#have < whole) return;
      this.#have = 0;
      this.#messages(this.#half, 0, whole);
      if (this.#half.length > HALF_BYTES) this.#half = Buffer.allocUnsafe(HALF_BYTES); // a large row's memory is not kept
    }
    if (this.#over) return this.#pass(chunk, at, chunk.length);
    at = this.#messages(chunk, at, chunk.length);
    if (at < chunk.length) this.#add(chunk, at, chunk.length - at);
  }

  /** Adds to the half message until it has `wanted` bytes; how far into the chunk that came. */
  #add(chunk: Buffer, from: number, wanted: number): number {
    const end = Math.min(chunk.length, from + Math.max(0, wanted - this.#have));
    // Once its length is known there is room for all of it, however many chunks it is long.
    const room = Math.max(this.#have + end - from, this.#have >= HEADER_BYTES ? wanted : 0);
    if (room > this.#half.length) {
      const larger = Buffer.allocUnsafe(room);
      this.#half.copy(larger, 0, 0, this.#have);
      this.#half = larger;
    }
    chunk.copy(this.#half, this.#have, from, end);
    this.#have += end - from;
    return end;
  }

  /** Where the first message begins that is not whole before `limit`. */
  #messages(bytes: Buffer, from: number, limit: number): number {
    let at = from;
    while (limit - at >= HEADER_BYTES) {
      const end = at + messageBytes(bytes, at);
      if (end > limit) break;
      if (bytes[at] === COPY_DATA) this.#take(bytes, at + HEADER_BYTES, end);
      else if (bytes[at] !== READY_FOR_QUERY) this.#pass(bytes, at, end);
      else {
        this.#over = true;
        if (this.#stream instanceof ReadingSocket) this.#stream.lends = false;
        this.#stream.off("data", this.#onData);
        for (const listener of this.#listeners) this.#stream.on("data", listener);
        this.#pass(bytes, at, limit); // what may follow is theirs again, halves of messages too
        return limit;
      }
      at = end;
    }
    return at;
  }

  #pass(bytes: Buffer, start: number, end: number): void {
    const copy = Buffer.from(bytes.subarray(start, end));
    for (const listener of this.#listeners) listener.call(this.#stream, copy);
  }
}

function messageBytes(bytes: Buffer, at: number): number {
  return 1 + bytes.readUInt32BE(at + 1);
}
