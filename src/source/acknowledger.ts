// R-ack, in its order: the state says "acknowledged up to L", then PostgreSQL is told L.
import { TailraceError } from "../core/errors.ts";
import type { LogWriter } from "../core/event-log.ts";
import { reach } from "../core/failpoint.ts";
import type { Lsn } from "../core/lsn.ts";
import { writeState, type SourceState } from "../core/source-state.ts";
import type { Stream } from "../postgres/stream.ts";
import type { Publisher } from "./publisher.ts";

/** Least time between two acknowledgements, ms: each costs a state record. WAL is held back that much longer. */
const ACK_EVERY_MS = 500;

export class Acknowledger {
  readonly #publisher: Publisher;
  readonly #stream: Stream;
  readonly #writer: LogWriter;
  readonly #prefix: string;
  readonly #signal: AbortSignal;
  readonly #snapshots: () => SourceState["snapshots"];
  readonly #acknowledged: (lsn: Lsn) => void;
  readonly #failed: (error: TailraceError) => void;
  #state: SourceState;
  /** What PostgreSQL was told. After a crash between the two steps it is behind the state. */
  #told: Lsn;
  #toldAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: {
    readonly publisher: Publisher;
    readonly stream: Stream;
    readonly writer: LogWriter;
    readonly prefix: string;
    readonly state: SourceState;
    /** Where the stream began. */
    readonly from: Lsn;
    readonly signal: AbortSignal;
    /** The unfinished snapshots: what was queued by a transaction stands in the state before it is acknowledged (R-window-toast). */
    readonly snapshots: () => SourceState["snapshots"];
    readonly acknowledged: (lsn: Lsn) => void;
    readonly failed: (error: TailraceError) => void;
  }) {
    this.#publisher = options.publisher;
    this.#stream = options.stream;
    this.#writer = options.writer;
    this.#prefix = options.prefix;
    this.#state = options.state;
    this.#told = options.from;
    this.#signal = options.signal;
    this.#snapshots = options.snapshots;
    this.#acknowledged = options.acknowledged;
    this.#failed = options.failed;
  }

  /** The state as last written. */
  get state(): SourceState {
    return this.#state;
  }

  /** Acknowledges soon what may be, if that is more than before. */
  request(): void {
    if (this.#closed || this.#timer !== null || this.#publisher.ackable() <= this.#told) return;
    const wait = Math.max(0, this.#toldAt + ACK_EVERY_MS - performance.now());
    this.#timer = setTimeout(() => {
      const before = this.#underWay;
      this.#underWay = before
        .then(async () => this.#acknowledge())
        .catch((cause: unknown) => this.#failed(TailraceError.from(cause)))
        .finally(() => {
          this.#timer = null;
          this.request();
        });
    }, wait);
  }

  /** Makes the snapshots' progress durable, and `change` with it, whether or not anything may be acknowledged. */
  async save(change: Partial<Pick<SourceState, "layouts" | "parked" | "versions">> = {}): Promise<void> {
    const before = this.#underWay;
    this.#underWay = (async () => {
      await before;
      await this.#write(change);
    })();
    await this.#underWay;
  }

  /** Acknowledges what may be, now: the last time before the stream ends. `over`: the source is not to stream again. */
  async finish(phase: "streaming" | "over"): Promise<void> {
    await this.close();
    const before = this.#underWay;
    this.#underWay = (async () => {
      await before;
      await this.#acknowledge();
      if (phase === "over") await this.#write({ phase });
    })();
    await this.#underWay;
  }

  /** Waits for what is under way; nothing is acknowledged by itself any more. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#underWay;
  }

  async #acknowledge(): Promise<void> {
    const lsn = this.#publisher.ackable();
    this.#toldAt = performance.now();
    if (lsn > this.#state.acknowledged) {
      await this.#write({ acknowledged: lsn });
      reach("source.after_state");
    }
    this.#told = lsn;
    this.#stream.acknowledge(lsn);
    this.#acknowledged(lsn);
  }

  async #write(change: Partial<SourceState>): Promise<void> {
    const { number } = this.#state;
    const state = { ...this.#state, ...change, number: number + 1, published: this.#publisher.published, snapshots: this.#snapshots() };
    await writeState(this.#writer, this.#prefix, state, this.#signal);
    this.#state = state;
  }
}
