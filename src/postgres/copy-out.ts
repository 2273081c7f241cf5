// COPY … TO STDOUT on pg's connection, its rows taken from the socket's bytes. Through the client's parser each of them costs
// an object, a view and an event, and each chunk of the socket a buffer of twice its size; through pg-copy-streams more still.
import type { Connection, Submittable } from "pg";
import { CopyTap } from "./copy-tap.ts";

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
