// The connection to one broker that leads partitions: opened when there is something to send, with a bounded number of requests
// and bytes under way. It holds no batches: what was lost is its caller's to send again.
import type { Broker } from "@platformatic/kafka";
import { TailraceError } from "../../core/errors.ts";
import { version as ownVersion } from "../../core/version.ts";
import { bounded } from "./bounded.ts";
import { destroyAll } from "./connections.ts";
import { apiVersionsV3, Connection } from "./library.ts";
import { CONNECT_MS, connectionOptions, REQUEST_MS } from "./options.ts";
import type { KafkaOptions } from "./options.ts";
import { PRODUCE_KEY, produceApis, produceVersion } from "./produce-request.ts";
import type { ProduceAnswer, ProduceTopic, ProduceVersion } from "./produce-request.ts";

/** Requests under way. The broker works on one after the other, so more would only wait there; also the library's own limit. */
const REQUESTS = 5;
/** Bytes under way; one request goes whatever its size. Between here and the broker's answer each byte is in memory twice. */
const BYTES = 16 * 1024 * 1024;

export class ProduceLink {
  readonly #options: KafkaOptions;
  readonly #broker: Broker;
  readonly #onChange: () => void;
  #connection: Connection | null = null;
  /** null: not known yet, or not connected. */
  #version: ProduceVersion | null = null;
  #opening: Promise<void> | null = null;
  #requests = 0;
  #bytes = 0;
  #cut = false;

  /** `onChange` is called when a look at `state` may be worth it. */
  constructor(options: KafkaOptions, broker: Broker, onChange: () => void) {
    this.#options = options;
    this.#broker = broker;
    this.#onChange = onChange;
  }

  /** Whether a connection is there, or is being made. While it logs in again (KIP-368) no request may be sent, but no other is opened. */
  get state(): "closed" | "busy" | "open" {
    if (this.#opening !== null) return "busy";
    if (this.#connection === null || this.#version === null) return "closed";
    if (this.#connection.isConnected()) return "open";
    return this.#connection.status === "reauthenticating" ? "busy" : "closed";
  }

  /** Whether a request of so many bytes may be sent now. */
  hasRoom(bytes: number): boolean {
    return this.#requests < REQUESTS && (this.#requests === 0 || this.#bytes + bytes <= BYTES);
  }

  /** Connects and logs in. Throws what the library throws. */
  async open(signal: AbortSignal): Promise<void> {
    this.#opening ??= this.#connect(signal).finally(() => (this.#opening = null));
    await this.#opening;
  }

  async #connect(signal: AbortSignal): Promise<void> {
    if (this.#cut) throw new TailraceError("LOG_UNREACHABLE", { reason: "the writer is closed" });
    const connection = new Connection(this.#options.clientId, connectionOptions(this.#options));
    // Without a listener an error would end the process. After one the library only half closes.
    connection.on("error", () => drop(connection));
    connection.on("connect", this.#onChange); // also when it has logged in again
    connection.on("close", () => {
      drop(connection);
      if (this.#connection === connection) this.#connection = null;
      this.#onChange();
    });
    this.#connection = connection;
    this.#version = null;
    const { host, port } = this.#broker;
    const giveUp = (): void => drop(connection);
    try {
      await bounded(Promise.resolve(connection.connect(host, port)), "a connect", CONNECT_MS + 1_000, signal, giveUp);
      const ask = apiVersionsV3.api.async(connection, "tailrace", ownVersion);
      const { apiKeys } = await bounded(ask, "a question for versions", REQUEST_MS + 1_000, signal, giveUp);
      this.#version = produceVersion(apiKeys.find(({ apiKey }) => apiKey === PRODUCE_KEY)?.maxVersion ?? 0);
    } catch (error) {
      giveUp();
      throw error;
    }
  }

  /**
   * Sends batches, whose bytes are copied before this returns, and resolves with the broker's answers by `answerKey`. Throws what
   * the library throws when no answer came; then the connection is cut, since what comes later could be taken for another's.
   */
  async produce(topics: readonly ProduceTopic[], bytes: number): Promise<ReadonlyMap<string, ProduceAnswer>> {
    const { version, connection } = this.#usable();
    this.#requests++;
    this.#bytes += bytes;
    try {
      const answers = await produceApis[version].async(connection, topics);
      const names = new Map(topics.map(({ name, id }) => [version === 13 ? id : name, name]));
      return new Map(answers.map((answer) => [answerKey(names.get(answer.topic) ?? "", answer.partition), answer]));
    } catch (error) {
      drop(connection);
      throw error;
    } finally {
      this.#requests--;
      this.#bytes -= bytes;
    }
  }

  #usable(): { readonly version: ProduceVersion; readonly connection: Connection } {
    if (this.state !== "open" || this.#version === null || this.#connection === null) {
      throw new TailraceError("LOG_UNREACHABLE", { reason: "the connection is closed" });
    }
    return { version: this.#version, connection: this.#connection };
  }

  /** Ends the connection at once, and for good: nothing is sent any more. */
  cut(): void {
    this.#cut = true;
    if (this.#connection !== null) drop(this.#connection);
  }
}

/** At once. A connection that is only destroyed would still log in again at its time, and look alive by that. */
function drop(connection: Connection): void {
  connection.close().catch(() => undefined);
  destroyAll(new Set([connection]));
}

/** The place of a batch in a request's answers. */
export function answerKey(topic: string, partition: number): string {
  return `${topic}:${partition}`;
}
