// Which broker leads which partition, as the cluster said last, and under which id a topic was first seen.
import type { Broker } from "@platformatic/kafka";
import { TailraceError } from "../../core/errors.ts";
import type { TopicPartition } from "../../core/event-log.ts";
import type { Brokers } from "./brokers.ts";
import { ProtocolError } from "./library.ts";

/** What was said is asked again after this, as Java's client has it; a moved leader is noticed before by its refusal, ms. */
const MAX_AGE_MS = 300_000;

type Said = {
  /** Kafka's error code of the topic, 0: none. */
  readonly errorCode: number;
  readonly id: string;
  readonly leaders: readonly number[];
  readonly at: number;
};

export class Routes {
  readonly #brokers: Brokers;
  readonly #said = new Map<string, Said>();
  /** The first id of each topic that was there: what is written belongs to it. */
  readonly #ids = new Map<string, string>();
  #nodes: ReadonlyMap<number, Broker> = new Map();

  constructor(brokers: Brokers) {
    this.#brokers = brokers;
  }

  /** The id of a topic that has been found. */
  id(topic: string): string {
    return this.#ids.get(topic) ?? "";
  }

  /** The leader as it is known, null when it has to be asked for. */
  known(place: TopicPartition, now: number): Broker | null {
    const said = this.#said.get(place.topic);
    if (said === undefined || now - said.at > MAX_AGE_MS) return null;
    try {
      return this.leader(place);
    } catch {
      return null;
    }
  }

  /** Asks the cluster about topics. Throws what the library throws. */
  async refresh(topics: readonly string[], signal: AbortSignal): Promise<void> {
    const metadata = await this.#brokers.metadata(topics, signal);
    const at = performance.now();
    this.#nodes = new Map(metadata.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    for (const { name, errorCode, topicId, partitions } of metadata.topics) {
      if (typeof name !== "string") continue; // asked for by id, which is not done here
      const leaders: number[] = [];
      for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId;
      this.#said.set(name, { errorCode, id: topicId, leaders, at });
      if (errorCode === 0 && !this.#ids.has(name)) this.#ids.set(name, topicId);
    }
  }

  /**
   * The leader as it was said last. Throws LOG_REFUSED for a partition beyond the topic's count and for a topic that was made
   * again (R-routing), Kafka's error for one that is not there, LEADER_NOT_AVAILABLE while there is none.
   */
  leader({ topic, partition }: TopicPartition): Broker {
    const said = this.#said.get(topic);
    if (said === undefined) throw new ProtocolError("UNKNOWN_TOPIC_OR_PARTITION", null);
    if (said.errorCode !== 0) throw new ProtocolError(said.errorCode, null);
    const refused = (reason: string): TailraceError => new TailraceError("LOG_REFUSED", { topic, partition, reason });
    if (said.id !== this.#ids.get(topic)) throw refused("the topic was deleted and made again under the same name");
    if (partition >= said.leaders.length) throw refused(`the topic has ${said.leaders.length} partitions`);
    const broker = this.#nodes.get(said.leaders[partition] ?? -1);
    if (broker === undefined) throw new ProtocolError("LEADER_NOT_AVAILABLE", null);
    return broker;
  }
}
