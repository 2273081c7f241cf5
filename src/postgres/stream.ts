// The replication stream: pg connects and logs in, the messages of the copy that follows are taken from the socket's bytes.
import type { Client } from "pg";
import { TailraceError } from "../core/errors.ts";
import { formatLsn, toLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import { CopyTap } from "./copy-tap.ts";
import type { Peer, ServerMessage } from "./database-errors.ts";
import { limitsFor, liveness, type Limits } from "./liveness.ts";
import { ReadPace } from "./read-pace.ts";
import { ReadingSocket } from "./reading-socket.ts";
import { clientConfig, forReplication, MONEY_TEXT, newClient, peerFor, quoteIdentifier, type ConnectionSettings } from "./session.ts";
import { makeTemporarySlot } from "./slot.ts";
import { noticeError, streamError } from "./stream-errors.ts";

/** Takes the pgoutput message in `bytes[start, end)` and its place in the WAL, in two halves of 32 bits. */
export type MessageTaker = (bytes: Buffer, start: number, end: number, walHigh: number, walLow: number) => void;

export type StreamOptions = {
  readonly connection: ConnectionSettings;
  readonly slot: string;
  readonly publication: string;
  /**
   * Where to go on, above 0. All before it must be durable: it is what status updates confirm until acknowledge() is called.
   * null: the slot is made by the stream's own connection, for as long as that lasts, and the stream starts where the slot does.
   */
  readonly from: Lsn | null;
  /** Values in PostgreSQL's binary form; else in its text form. */
  readonly binary: boolean;
  /** The server's setting, ms; 0: off. */
  readonly walSenderTimeoutMs: number;
  /**
   * One pgoutput message, `bytes[start, end)`, and its XLogData position. Synchronous; the bytes are the socket's and valid
   * during the call only. What it throws ends the stream.
   */
  readonly onMessage: MessageTaker;
  /**
   * All transactions that committed before `walEnd` have been delivered. Where nothing is outstanding and no transaction
   * is being received, `walEnd` may be acknowledged. A requested reply is sent by the stream itself.
   */
  readonly onKeepalive: (walEnd: Lsn, replyRequested: boolean) => void;
};

/** A running stream. Disposing of it (or aborting its signal) releases the slot within about a second. */
export interface Stream extends AsyncDisposable {
  /** Where it began. */
  readonly from: Lsn;
  /** Stops reading the socket. Messages of the chunk being taken apart (64 KiB) still come. */
  pause(): void;
  resume(): void;
  /**
   * Tells the server that all before exactly `flushed` is durable; it is repeated by every later status update. An LSN below the
   * last one is ignored.
   */
  acknowledge(flushed: Lsn): void;
  /** Rejects when the stream ends: a TailraceError, or the signal's reason. Pending for ever after a mere dispose. */
  readonly ended: Promise<never>;
}

/**
 * R-options: what decides which messages are delivered, hence how they are numbered. Whether values come as binary or text does not.
 * Messages are on: marks come by them, and have no ordinal. Options that are not named have their defaults: streaming and
 * two_phase off, changes of any origin.
 */
export function streamFingerprint(publication: string): string {
  return `proto_version=1 publication_names=${quoteIdentifier(publication)} messages=on origin=any streaming=off two_phase=off`;
}

/**
 * The replication command. The publication's name is an identifier in a list in a string constant, so it is quoted twice; a backslash
 * means nothing in either.
 */
export function startSql(options: Pick<StreamOptions, "slot" | "publication" | "binary"> & { readonly from: Lsn }): string {
  const { slot, publication, from, binary } = options;
  const names = `'${quoteIdentifier(publication).replaceAll("'", "''")}'`;
  return `START_REPLICATION SLOT ${quoteIdentifier(slot)} LOGICAL ${formatLsn(from)} (proto_version '1', publication_names ${names}, messages 'true', binary '${binary}')`;
}

/**
 * Starts streaming; resolves when the server has begun. Throws SLOT_ACTIVE, SLOT_MISSING, SLOT_LOST, SLOT_FOREIGN, SLOT_WAITS,
 * PUBLICATION_MISSING, DATABASE_UNREACHABLE, DATABASE_LOGIN, PRIVILEGE_MISSING, SLOT_LIMIT; the signal's reason after abort.
 */
export async function openStream(options: StreamOptions, signal: AbortSignal): Promise<Stream> {
  if (options.from !== null && options.from <= 0n) throw new RangeError("a stream starts at an LSN above 0");
  signal.throwIfAborted();
  const stream = new ReplicationStream(options, signal);
  await stream.start();
  return stream;
}

/** How long a closing stream waits for the server's goodbye: in the middle of a large transaction it says none. */
const GOODBYE_MS = 800;
/** A server that shuts down asks again as soon as it is answered, until all is acknowledged: without a pause both spin. */
const REPLY_PAUSE_MS = 100;
/** Requests in a row, each right after the last, after which we let a server go that waits for us to shut down. */
const SHUTDOWN_REQUESTS = 30;

/** What a connection's type declarations lack. */
type CopyConnection = { sendCopyFromChunk(chunk: Buffer): void; endCopyFrom(): void };

/* Of the server: XLogData  ::= 'w'  wal_start Int64  wal_end Int64  send_time Int64  data
 *                Keepalive ::= 'k'  wal_end Int64  send_time Int64  reply_requested Int8
 * Ours:          Status    ::= 'r'  written Int64  flushed Int64  applied Int64  client_clock Int64  reply_requested Int8
 * Times are µs since 2000-01-01. Each in a CopyData; PostgreSQL manual, "Streaming Replication Protocol". */
const XLOG_DATA = 0x77;
const XLOG_HEADER_BYTES = 25;
const KEEPALIVE = 0x6b;
const KEEPALIVE_BYTES = 18;
const STATUS = 0x72;
const STATUS_BYTES = 34;
const POSTGRES_EPOCH_MS = 946_684_800_000;

class ReplicationStream implements Stream {
  readonly ended: Promise<never>;
  readonly #options: StreamOptions;
  readonly #signal: AbortSignal;
  readonly #peer: Peer;
  readonly #limits: Limits;
  readonly #client: Client;
  /** The one under any TLS. The client can't be stopped before it is connected; this can. */
  readonly #socket = new ReadingSocket();
  #state: "connecting" | "streaming" | "closed" = "connecting";
  #from: Lsn;
  #acknowledged: Lsn;
  // Activity, for liveness().
  #received = 0;
  #listening: number | null = 0;
  #sent = 0;
  #ticked = 0;
  readonly #pace = new ReadPace();
  /** Since the last look at the pace. */
  #came = { messages: 0, bytes: 0 };
  #turn: NodeJS.Immediate | undefined;
  #rest: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #reply: NodeJS.Timeout | undefined;
  #requests = 0;
  #fail: (error: unknown) => void = () => undefined;
  #closing: Promise<void> | undefined;
  readonly #aborted = (): void => {
    this.#end(this.#signal.reason);
  };

  constructor(options: StreamOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#from = this.#acknowledged = options.from ?? ZERO_LSN;
    this.#peer = peerFor(options.connection);
    this.#limits = limitsFor(options.walSenderTimeoutMs);
    this.ended = new Promise((_, reject) => (this.#fail = reject));
    this.ended.catch(() => undefined); // whoever waits for it is told; nobody has to
    const config = clientConfig(options.connection, { statement_timeout: 0, ...MONEY_TEXT });
    this.#client = newClient({ ...forReplication(config), stream: () => this.#socket });
  }

  async start(): Promise<void> {
    this.#signal.addEventListener("abort", this.#aborted, { once: true });
    const begun = new Promise<void>((resolve) => {
      this.#client.connection.once("replicationStart", () => {
        this.#begin();
        resolve();
      });
    });
    this.#client.on("error", (error) => this.#end(error));
    this.#client.on("notice", (notice) => {
      const error = this.#state === "streaming" ? noticeError(notice as unknown as ServerMessage, this.#options.publication) : null;
      if (error !== null) this.#end(error);
    });
    this.#replicate().then(
      () => this.#end(new TailraceError("STREAM_LOST", { reason: "the server ended it" })),
      (error: unknown) => this.#end(error),
    );
    await Promise.race([begun, this.ended]);
  }

  get from(): Lsn {
    return this.#from;
  }

  pause(): void {
    this.#listening = null;
    this.#client.connection.stream.pause();
  }

  resume(): void {
    if (this.#listening !== null) return;
    this.#listening = performance.now();
    if (this.#rest === undefined) this.#client.connection.stream.resume();
  }

  /** All that the socket had is handled: with TLS each message is a chunk. */
  #handled(): void {
    this.#turn = undefined;
    this.#received = performance.now();
    const ms = this.#pace.restAfter(this.#received, this.#came.messages, this.#came.bytes);
    this.#came.messages = this.#came.bytes = 0;
    if (ms === 0 || this.#rest !== undefined || this.#state === "closed") return;
    this.#client.connection.stream.pause();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      if (this.#listening !== null) this.#client.connection.stream.resume();
    }, ms);
  }

  acknowledge(flushed: Lsn): void {
    if (flushed <= this.#acknowledged) return;
    this.#acknowledged = flushed;
    this.#sendStatus(false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** Resolves when the server ends the stream in good order, as it does when it shuts down. */
  async #replicate(): Promise<void> {
    const { slot, from } = this.#options;
    await this.#client.connect();
    if (from === null) this.#from = this.#acknowledged = await makeTemporarySlot(this.#client, slot);
    const { stream } = this.#client.connection; // with TLS it is another than before
    new CopyTap(stream, (bytes, start, end) => this.#take(bytes, start, end));
    stream.on("data", (chunk: Buffer) => {
      this.#came.bytes += chunk.length;
      this.#turn ??= setImmediate(() => this.#handled());
    });
    await this.#client.query(startSql({ ...this.#options, from: this.#from }));
  }

  #begin(): void {
    if (this.#state === "closed") return;
    this.#state = "streaming";
    const now = performance.now();
    this.#received = this.#listening = this.#sent = this.#ticked = now;
    this.#ticker = setInterval(() => this.#tick(), this.#limits.keepaliveMs / 4);
  }

  #take(bytes: Buffer, start: number, end: number): void {
    if (this.#state === "closed") return;
    try {
      const kind = bytes[start];
      if (kind === XLOG_DATA && end - start >= XLOG_HEADER_BYTES) {
        this.#requests = 0;
        this.#came.messages += 1; // keepalives are none: a walsender sends one whenever it has caught up
        this.#options.onMessage(bytes, start + XLOG_HEADER_BYTES, end, bytes.readUInt32BE(start + 1), bytes.readUInt32BE(start + 5));
      } else if (kind === KEEPALIVE && end - start >= KEEPALIVE_BYTES) {
        this.#keepalive(toLsn(bytes.readBigUInt64BE(start + 1)), bytes[start + 17] === 1);
      } else {
        throw new TailraceError("STREAM_PROTOCOL", { reason: `a copy message of kind ${String(kind)} and ${end - start} bytes` });
      }
    } catch (error) {
      this.#end(TailraceError.from(error)); // thrown on, it would surface in the socket's event and end the process
    }
  }

  #keepalive(walEnd: Lsn, replyRequested: boolean): void {
    this.#options.onKeepalive(walEnd, replyRequested);
    this.#requests = replyRequested ? this.#requests + 1 : 0;
    if (!replyRequested) return;
    if (this.#requests > SHUTDOWN_REQUESTS)
      return this.#end(
        new TailraceError("STREAM_LOST", { reason: "the server shuts down and waits for what is not durable yet; it is sent again later" }),
      );
    const wait = this.#sent + REPLY_PAUSE_MS - performance.now();
    if (wait <= 0) this.#sendStatus(false);
    else this.#reply ??= setTimeout(() => this.#sendStatus(false), wait);
  }

  #tick(): void {
    const now = performance.now();
    // A tick that comes late was held up with everything else in this process: the socket has not been read either.
    if (this.#listening !== null && now - this.#ticked > this.#limits.keepaliveMs) this.#listening = now;
    this.#ticked = now;
    const todo = liveness(now, { received: this.#received, listening: this.#listening, sent: this.#sent }, this.#limits);
    if (todo === "keepalive") this.#sendStatus(true);
    if (todo === "reconnect")
      this.#end(new TailraceError("STREAM_LOST", { reason: `the server was silent for ${this.#limits.silenceMs} ms` }));
  }

  /**
   * R-ack: the one place where a status update is sent, always with flush = the acknowledged LSN. One more and the server counts
   * the next, adjacent transaction as confirmed.
   */
  #sendStatus(answer: boolean): void {
    if (this.#state !== "streaming") return;
    clearTimeout(this.#reply);
    this.#reply = undefined;
    this.#sent = performance.now();
    const status = Buffer.alloc(STATUS_BYTES);
    status[0] = STATUS;
    for (const at of [1, 9, 17]) status.writeBigUInt64BE(this.#acknowledged, at);
    status.writeBigInt64BE(BigInt(Date.now() - POSTGRES_EPOCH_MS) * 1_000n, 25);
    status[33] = answer ? 1 : 0;
    this.#copying.sendCopyFromChunk(status);
  }

  get #copying(): CopyConnection {
    return this.#client.connection as unknown as CopyConnection;
  }

  #end(error: unknown): void {
    if (this.#state === "closed") return;
    const { slot, publication } = this.#options;
    const place = { slot, publication, acknowledged: this.#acknowledged, peer: this.#peer, begun: this.#state === "streaming" };
    this.#fail(this.#signal.aborted ? this.#signal.reason : streamError(error, place));
    void this.#close();
  }

  #close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  /** Never throws: what can go wrong here is a socket that is gone already. */
  async #release(): Promise<void> {
    const wasStreaming = this.#state === "streaming";
    if (wasStreaming) this.#sendStatus(false);
    this.#state = "closed";
    this.#signal.removeEventListener("abort", this.#aborted);
    clearInterval(this.#ticker);
    clearTimeout(this.#rest);
    clearTimeout(this.#reply);
    if (wasStreaming && !this.#socket.destroyed) await this.#goodbye();
    this.#socket.destroy();
    await this.#client.end().catch(() => undefined);
  }

  /** Ends the copy in good order, so that the server has read our last status update before the connection ends. */
  #goodbye(): Promise<void> {
    const { connection } = this.#client;
    return new Promise((resolve) => {
      const giveUp = setTimeout(resolve, GOODBYE_MS);
      const done = (): void => {
        clearTimeout(giveUp);
        resolve();
      };
      connection.once("commandComplete", done);
      connection.once("end", done);
      this.#copying.endCopyFrom();
      connection.stream.resume(); // what is under way comes before the goodbye, and is dropped
    });
  }
}
