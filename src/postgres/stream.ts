// The replication stream: pg-logical-replication with its decoding, its acknowledgements and its timers replaced by ours.
import { Socket } from "node:net";
import { LogicalReplicationService, PgoutputPlugin } from "pg-logical-replication";
import type { Client, Connection } from "pg";
import { TailraceError } from "../core/errors.ts";
import { formatLsn, parseLsn, toLsn, ZERO_LSN, type Lsn } from "../core/lsn.ts";
import type { Peer, ServerMessage } from "./database-errors.ts";
import { limitsFor, liveness, type Limits } from "./liveness.ts";
import { ReadPace } from "./read-pace.ts";
import { clientConfig, peerFor, quoteIdentifier, type ConnectionSettings } from "./session.ts";
import { makeTemporarySlot } from "./slot.ts";
import { noticeError, streamError } from "./stream-errors.ts";

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
   * One pgoutput message and its XLogData position. Synchronous; the bytes belong to the protocol's parser, which writes over
   * them after the call. What it throws ends the stream.
   */
  readonly onMessage: (bytes: Buffer, walHigh: number, walLow: number) => void;
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

/** What the library keeps private and has no other way to: its client, and that client's connection. */
type Internals = { readonly _client: Client | null; readonly _connection: Connection | null };

class ReplicationStream implements Stream {
  readonly ended: Promise<never>;
  readonly #options: StreamOptions;
  readonly #signal: AbortSignal;
  readonly #peer: Peer;
  readonly #limits: Limits;
  readonly #service: LogicalReplicationService;
  #socket: Socket | undefined;
  #connection: Connection | null = null;
  #state: "connecting" | "streaming" | "closed" = "connecting";
  #from: Lsn;
  #acknowledged: Lsn;
  // The position in the header of the copy message that is being handled: the library passes on what comes after it.
  #walHigh = 0;
  #walLow = 0;
  // Activity, for liveness().
  #received = 0;
  #listening: number | null = 0;
  #sent = 0;
  #ticked = 0;
  readonly #pace = new ReadPace();
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
    const client = { ...clientConfig(options.connection, { statement_timeout: 0 }), stream: () => this.#makeSocket() };
    // Its automatic acknowledgement and its standby timer both confirm what was received, durable or not.
    this.#service = new LogicalReplicationService(client, { acknowledge: { auto: false, timeoutSeconds: 0 } });
  }

  async start(): Promise<void> {
    this.#signal.addEventListener("abort", this.#aborted, { once: true });
    const begun = new Promise<void>((resolve) => {
      this.#service.once("start", () => {
        this.#begin();
        resolve();
      });
    });
    this.#service.on("error", (error) => this.#end(error));
    this.#service.on("heartbeat", (walEnd, _time, replyRequested) => this.#keepalive(parseLsn(walEnd), replyRequested));
    const plugin = new InPlacePlugin(
      async (client) => this.#startReplication(client),
      (bytes) => this.#message(bytes),
    );
    // Resolves when the server ends the stream in good order, as it does when it shuts down.
    this.#service.subscribe(plugin, this.#options.slot).then(
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
    this.#connection?.stream.pause();
  }

  resume(): void {
    if (this.#listening !== null) return;
    this.#listening = performance.now();
    if (this.#rest === undefined) this.#connection?.stream.resume();
  }

  /** A chunk has been handled. */
  #rested(bytes: number): void {
    const now = performance.now();
    this.#received = now;
    const ms = this.#pace.restAfter(now, bytes);
    if (ms === 0 || this.#rest !== undefined || this.#state === "closed") return;
    this.#connection?.stream.pause();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      if (this.#listening !== null) this.#connection?.stream.resume();
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

  /** The library can't be stopped before it is connected; the socket under it, and under any TLS, can. */
  #makeSocket(): Socket {
    if (this.#state === "closed") throw new Error("closed before it was connected");
    this.#socket = new Socket();
    return this.#socket;
  }

  async #startReplication(client: Client): Promise<unknown> {
    const { slot, from } = this.#options;
    if (from === null) this.#from = this.#acknowledged = await makeTemporarySlot(client, slot);
    return client.query(startSql({ ...this.#options, from: this.#from }));
  }

  #begin(): void {
    const { _client: client, _connection: connection } = this.#service as unknown as Internals;
    if (client === null || connection === null || this.#state === "closed") return;
    this.#state = "streaming";
    this.#connection = connection;
    const now = performance.now();
    this.#received = this.#listening = this.#sent = this.#ticked = now;
    /* XLogData ::= 'w'  wal_start Int64  wal_end Int64  send_time Int64  data; manual, "Streaming Replication Protocol".
     * Before the library's own listener, so that the position is there when it calls parse(). */
    connection.prependListener("copyData", ({ chunk }: { chunk: Buffer }) => {
      this.#walHigh = chunk.readUInt32BE(1);
      this.#walLow = chunk.readUInt32BE(5);
    });
    connection.stream.on("data", (chunk: Buffer) => this.#rested(chunk.length));
    client.on("notice", (notice) => {
      const error = noticeError(notice as unknown as ServerMessage, this.#options.publication);
      if (error !== null) this.#end(error);
    });
    this.#ticker = setInterval(() => this.#tick(), this.#limits.keepaliveMs / 4);
  }

  #message(bytes: Buffer): void {
    if (this.#state === "closed") return;
    this.#requests = 0;
    try {
      this.#options.onMessage(bytes, this.#walHigh, this.#walLow);
    } catch (error) {
      this.#end(TailraceError.from(error)); // thrown on, it would surface in the socket's event and end the process
    }
  }

  #keepalive(walEnd: Lsn, replyRequested: boolean): void {
    if (this.#state === "closed") return;
    try {
      this.#options.onKeepalive(walEnd, replyRequested);
    } catch (error) {
      return this.#end(TailraceError.from(error));
    }
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
   * R-ack: the one place where a status update is sent, always with flush = the acknowledged LSN. The library adds one to
   * what it is given; one too many and the server counts the next, adjacent transaction as confirmed.
   */
  #sendStatus(answer: boolean): void {
    if (this.#state !== "streaming") return;
    clearTimeout(this.#reply);
    this.#reply = undefined;
    this.#sent = performance.now();
    this.#service.acknowledge(formatLsn(toLsn(this.#acknowledged - 1n)), answer).catch((error: unknown) => this.#end(error));
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
    const connection = this.#connection;
    if (wasStreaming && connection !== null && this.#socket?.destroyed === false) await goodbye(connection);
    this.#socket?.destroy();
    await this.#service.destroy().catch(() => undefined);
  }
}

/** Ends the copy in good order, so that the server has read our last status update before the connection ends. */
function goodbye(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    const giveUp = setTimeout(resolve, GOODBYE_MS);
    const done = (): void => {
      clearTimeout(giveUp);
      resolve();
    };
    connection.once("commandComplete", done);
    connection.once("end", done);
    (connection as unknown as { endCopyFrom(): void }).endCopyFrom(); // its type declarations lack it
    connection.stream.resume(); // what is under way comes before the goodbye, and is dropped
  });
}

/** A plugin that hands each message on as it is, inside the library's copyData event; AbstractPlugin is not exported. */
class InPlacePlugin extends PgoutputPlugin {
  readonly #begin: (client: Client) => Promise<unknown>;
  readonly #onMessage: (bytes: Buffer) => void;

  constructor(begin: (client: Client) => Promise<unknown>, onMessage: (bytes: Buffer) => void) {
    super({ protoVersion: 1, publicationNames: [] });
    this.#begin = begin;
    this.#onMessage = onMessage;
  }

  override parse(bytes: Buffer): never {
    this.#onMessage(bytes);
    return undefined as never; // nobody listens to the library's `data` event
  }

  override start(client: Client): Promise<unknown> {
    return this.#begin(client);
  }
}
