// What contestants run on. What is missing on this machine is said once, and what needs it is left out.
import { KAFKA, startKafka } from "../test/support/kafka.ts";
import { missingFor } from "../test/support/maven-cache.ts";
import { REGISTRY, startRegistry } from "../test/support/registry.ts";
import { ConnectWorker, missingWorker } from "./connect-worker.ts";
import { findClient, type Surroundings } from "./contestant.ts";
import { warmWorker, type DebeziumParts, type Encoding } from "./debezium.ts";
import { isWanted, type Options } from "./options.ts";
import type { KafkaParts } from "./topics.ts";

/** Room to breathe, and all of Java's compilers: the tests' brokers are small and quick to start instead. */
const BROKER_JVM = ["-Xms1g", "-Xmx1g"];

/** What was started last is closed first. (Node 20 has no AsyncDisposableStack.) */
export class Closing implements AsyncDisposable {
  readonly #steps: (() => Promise<unknown>)[] = [];

  defer(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  use<T extends AsyncDisposable>(resource: T): T {
    this.defer(async () => resource[Symbol.asyncDispose]());
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const step of this.#steps.reverse()) await step();
  }
}

export type Servers = {
  readonly recvlogical: string | null;
  readonly psql: string | null;
  readonly pgbench: string | null;
  /** Asked for, and there. */
  readonly kafka: KafkaParts | null;
  /** One for each encoding; none where it was not asked for or is not there. */
  readonly debezium: readonly DebeziumParts[];
};

/** Starts Kafka and a registry when something needs them; workers of Kafka Connect start, and warm up, at their first use. */
export async function startServers(
  options: Options,
  surroundings: Surroundings,
  closing: Closing,
  say: (text: string) => void,
): Promise<Servers> {
  const { only } = options;
  const program = (name: string, subject: Options["only"][number], from: string, what: string): string | null => {
    if (!only.includes(subject)) return null;
    const found = findClient(name);
    if (found === null) say(`no ${name} here (apt-get install ${from}): ${what} is left out`);
    return found;
  };
  const kafka = isWanted(options, "kafka") || isWanted(options, "debezium") ? await startKafkaParts(closing, say) : null;
  return {
    recvlogical: program("pg_recvlogical", "recvlogical", "postgresql-client", "draining a slot by it"),
    psql: program("psql", "snapshot", "postgresql-client", "COPY"),
    pgbench: program("pgbench", "pgbench", "postgresql", "what the source database pays"),
    kafka,
    debezium: isWanted(options, "debezium") && kafka !== null ? await debeziumParts(kafka, surroundings, closing, say) : [],
  };
}

async function startKafkaParts(closing: Closing, say: (text: string) => void): Promise<KafkaParts | null> {
  const missing = (await missingFor(KAFKA)) ?? (await missingFor(REGISTRY));
  if (missing !== null) {
    say(`${missing}: Kafka and Debezium are left out`);
    return null;
  }
  say("starting Kafka and a registry");
  const kafka = closing.use(await startKafka({ jvm: BROKER_JVM }));
  const registry = closing.use(await startRegistry());
  if (kafka.pid === null) throw new Error("Kafka has ended");
  return { brokers: kafka.brokers, registry: registry.url, brokerPid: kafka.pid };
}

async function debeziumParts(
  kafka: KafkaParts,
  surroundings: Surroundings,
  closing: Closing,
  say: (text: string) => void,
): Promise<readonly DebeziumParts[]> {
  const missing = await missingWorker();
  if (missing !== null) {
    say(`${missing}: Debezium is left out`);
    return [];
  }
  return (["json", "avro"] as const).map((encoding: Encoding): DebeziumParts => {
    let starting: Promise<ConnectWorker> | null = null;
    const start = async (): Promise<ConnectWorker> => {
      say(`starting Kafka Connect for Debezium, ${encoding}, and warming it up`);
      const worker = closing.use(await ConnectWorker.start(kafka.brokers));
      await warmWorker(surroundings, { kafka, encoding }, worker);
      return worker;
    };
    return { kafka, encoding, worker: async () => (starting ??= start()) };
  });
}
