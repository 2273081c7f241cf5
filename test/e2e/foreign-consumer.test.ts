// What a user's own program sees that knows nothing of Tailrace: kafkajs reads the topics, the Confluent client decodes
// them, and replaying the events gives the table.
import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import avro from "avsc";
import kafkajs from "kafkajs";
import { expect, test } from "vitest";
import { describeWithKafka, kafka, postgres, registry, uniqueName, type TestDatabase } from "../support/servers.ts";
import { Scene, sourceDocument, until } from "./scene.ts";

const TRANSACTIONS = 200;
const SEED = 20_260_719;

type Key = { readonly id: bigint; readonly region: string };
type Row = Key & {
  readonly note: string | null;
  readonly amount: Buffer | null;
  readonly flag: boolean | null;
  readonly at: bigint | null;
};
type Envelope = {
  readonly before: Row | null;
  readonly after: Row | null;
  readonly source: Readonly<Record<string, unknown>> & { readonly epoch: number; readonly commit_lsn: bigint; readonly ordinal: bigint };
  readonly op: string;
  readonly ts_ms: bigint;
  readonly unchanged: readonly string[];
  readonly moved_from: Key | null;
};
type Message = {
  readonly partition: number;
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: kafkajs.IHeaders | undefined;
};

describeWithKafka("a plain kafkajs and Confluent consumer", () => {
  test(`R-sequence, R-tail, R-barrier: ${TRANSACTIONS} transactions of mixed changes, adjacent commits among them, arrive exactly`, async () => {
    await using database = await (await postgres()).createDatabase("foreign");
    await using scene = await Scene.open();
    const prefix = uniqueName("foreign");
    await database.sql(`
      CREATE TABLE orders (id bigint, region text, note text, amount numeric(12,2), flag bool, at timestamptz, PRIMARY KEY (id, region));
      CREATE TABLE unwatched (id int)`);
    await configure(scene, database, prefix, ["public.orders"]);
    await scene.start();
    await scene.reaches({ shop: "running" });
    const load = new Load(SEED);
    for (let done = 0; done < TRANSACTIONS; done += 2) {
      // In one message to the server, so that nothing stands between the commits.
      await database.sql(`${load.transaction()}; ${load.transaction()}`);
      // What is acknowledged when it stops must not take the commit behind it along.
      if (done === TRANSACTIONS / 2) {
        expect(await scene.stop()).toMatchObject({ code: 0 });
        await scene.start();
      }
    }
    await until(async () => {
      const end = Number((await database.sql<{ lsn: string }>("SELECT pg_current_wal_lsn() - '0/0' AS lsn"))[0]?.lsn);
      const ack = await scene.metric("tailrace_source_ack_lsn");
      await database.sql("INSERT INTO unwatched VALUES (1)"); // the acknowledged LSN goes on with it (R-ack)
      expect(ack).toBeGreaterThan(end - 1_000_000);
      expect(await countOf(`${prefix}.public.orders`)).toBe(load.records);
    });

    const topic = `${prefix}.public.orders`;
    const messages = await readTopic(topic);
    const client = new SchemaRegistry({ host: (await registry()).url }, { [SchemaType.AVRO]: { typeHook: longsAsBigints } });
    const table = new Map<string, Row>();
    const homes = new Map<string, number>();
    const commits = new Set<bigint>();
    const ops = { c: 0, u: 0, d: 0 };
    const events: { readonly partition: number; readonly offset: number; readonly commitLsn: bigint }[] = [];
    for (const partition of new Set(messages.map((message) => message.partition))) {
      let before: Envelope["source"] | null = null;
      let deleted: { readonly key: string; readonly envelope: Envelope } | null = null;
      for (const { offset, key: keyBytes, value, headers } of messages.filter((message) => message.partition === partition)) {
        const key = (await client.decode(keyBytes!)) as Key;
        const name = `${key.id} ${key.region}`;
        expect(homes.get(name) ?? partition, `partition of ${name}`).toBe(partition);
        homes.set(name, partition);
        if (value === null) {
          expect(deleted?.key).toBe(name); // a tombstone follows its delete at once
          expect(headers?.["tailrace.sequence"]?.toString()).toBe(sequenceText(deleted!.envelope));
          deleted = null;
          continue;
        }
        expect(deleted, "a delete without its tombstone").toBeNull();
        const envelope = (await client.decode(value)) as Envelope;
        expect(Object.keys(envelope)).toEqual(["before", "after", "source", "op", "ts_ms", "unchanged", "moved_from"]);
        expect(envelope.source).toMatchObject({
          connector: "postgresql",
          name: "shop",
          snapshot: "false",
          db: database.name,
          schema: "public",
          table: "orders",
          epoch: 1,
          txId: expect.any(BigInt),
          lsn: expect.any(BigInt),
          version: expect.stringMatching(/^\d+\.\d+/),
        });
        expect(envelope.source.ts_ms).toBe((envelope.source.ts_us as bigint) / 1000n);
        if (before !== null) expect(isAfter(envelope.source, before), `order at ${partition}/${offset}`).toBe(true);
        before = envelope.source;
        commits.add(envelope.source.commit_lsn);
        events.push({ partition, offset, commitLsn: envelope.source.commit_lsn });
        ops[envelope.op as keyof typeof ops] += 1;
        if (envelope.op === "d") {
          expect(envelope.after).toBeNull();
          expect(envelope.before).toMatchObject(key);
          expect(table.delete(name), `deletes ${name}`).toBe(true);
          deleted = { key: name, envelope };
        } else {
          expect(envelope.after).toMatchObject(key);
          expect(envelope.unchanged).toEqual([]);
          if (envelope.moved_from !== null)
            expect(load.moves.delete(`${envelope.moved_from.id} ${envelope.moved_from.region} → ${name}`)).toBe(true);
          expect(table.has(name), `${envelope.op} of ${name}`).toBe(envelope.op === "u");
          table.set(name, envelope.after!);
        }
      }
      expect(deleted).toBeNull();
    }

    expect(ops).toEqual(load.ops);
    expect(commits.size).toBe(TRANSACTIONS);
    expect([...load.moves]).toEqual([]);
    const rows = [...table.values()].map(({ id, region, note, amount, flag, at }) => {
      return {
        id: id.toString(),
        region,
        note,
        cents: amount === null ? null : decimal(amount).toString(),
        flag,
        micros: at?.toString() ?? null,
      };
    });
    expect(rows.sort(byKey)).toEqual(
      (
        await database.sql<(typeof rows)[number]>(
          "SELECT id::text, region, note, (amount * 100)::bigint::text AS cents, flag, (extract(epoch FROM at) * 1000000)::bigint::text AS micros FROM orders",
        )
      ).sort(byKey),
    );

    const barriers = (await readTopic(`${prefix}.barriers`)).map(({ value }) => JSON.parse(value!.toString()) as Barrier);
    for (const [index, barrier] of barriers.entries()) {
      const lsn = parseLsn(barrier.commit_lsn);
      expect(barrier.epoch).toBe(1);
      if (index > 0) expect(lsn).toBeGreaterThan(parseLsn(barriers[index - 1]!.commit_lsn));
      const next = barrier.topics.find(({ name }) => name === topic)!.next;
      // Everything up to the commit stands before the barrier's offsets, and everything after it behind them.
      const wrong = events.filter(({ partition, offset, commitLsn }) => commitLsn <= lsn !== offset < next[partition]!);
      expect(wrong, `barrier ${index}`).toEqual([]);
    }
    const last = barriers.at(-1)!.topics.find(({ name }) => name === topic)!.next;
    expect(last.reduce((sum, next) => sum + next, 0)).toBe(messages.length);
  });

  test("a row that is larger than the topic takes is a dead letter with its key, and the rows beside it arrive", async () => {
    await using database = await (await postgres()).createDatabase("foreign");
    await using scene = await Scene.open();
    const prefix = uniqueName("foreign");
    await database.sql("CREATE TABLE files (id int PRIMARY KEY, body text)");
    await withAdmin(async (admin) => {
      const configEntries = [{ name: "max.message.bytes", value: "100000" }];
      await admin.createTopics({ topics: [{ topic: `${prefix}.public.files`, numPartitions: 4, replicationFactor: 1, configEntries }] });
    });
    await configure(scene, database, prefix, ["public.files"]);
    await scene.start();
    await scene.reaches({ shop: "running" });
    // In one transaction: eight rows of 60 kB do not fit into one batch of a partition either.
    await database.sql("INSERT INTO files SELECT id, repeat('x', CASE id WHEN 5 THEN 200000 ELSE 60000 END) FROM generate_series(1, 8) id");
    await until(async () => {
      expect(await scene.source("shop")).toMatchObject({ state: "running", publishedEvents: 7, deadLetters: 1 });
    });
    const client = new SchemaRegistry({ host: (await registry()).url });
    const keys = await Promise.all(
      (await readTopic(`${prefix}.public.files`)).map(async ({ key }) => (await client.decode(key!)) as { id: number }),
    );
    expect(keys.map(({ id }) => id).sort()).toEqual([1, 2, 3, 4, 6, 7, 8]);
    const [letter] = await readTopic(`${prefix}.dead_letters`);
    expect(await client.decode(letter!.key!)).toEqual({ id: 5 });
    expect(JSON.parse(letter!.value!.toString())).toMatchObject({ code: "ROW_TOO_LARGE", table: "public.files", op: "c" });
  });
});

type Barrier = {
  readonly epoch: number;
  readonly commit_lsn: string;
  readonly topics: readonly { readonly name: string; readonly next: readonly number[] }[];
};

async function configure(scene: Scene, database: TestDatabase, prefix: string, tables: readonly string[]): Promise<void> {
  await scene.configure(
    { kind: "service", log: { kafka: { brokers: (await kafka()).brokers } }, registry: { url: (await registry()).url } },
    sourceDocument({ name: "shop", url: database.url, tables, postgres: { slot: prefix, publication: prefix }, topics: { prefix } }),
  );
}

/** Random changes of a table that is known here too, so that each of them has an effect that is counted. */
class Load {
  readonly ops = { c: 0, u: 0, d: 0 };
  /** `old → new` of every key change. */
  readonly moves = new Set<string>();
  #deletes = 0;
  #nextId = 1;
  readonly #keys: { id: number; region: string }[] = [];
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** Events and tombstones. */
  get records(): number {
    return this.ops.c + this.ops.u + this.ops.d + this.#deletes;
  }

  transaction(): string {
    const statements = Array.from({ length: 1 + this.#random(6) }, () => this.#statement());
    return `BEGIN; ${statements.join("; ")}; COMMIT`;
  }

  #statement(): string {
    const choice = this.#keys.length < 5 ? 0 : this.#random(10);
    if (choice < 4) return this.#insert();
    const at = this.#random(this.#keys.length);
    const key = this.#keys[at]!;
    const where = `WHERE id = ${key.id} AND region = '${key.region}'`;
    if (choice < 7) {
      this.ops.u += 1;
      return `UPDATE orders SET note = ${this.#random(4) === 0 ? "NULL" : `'ünï ${this.#random(1_000)}'`}, flag = NOT flag ${where}`;
    }
    if (choice < 8) {
      this.#keys.splice(at, 1);
      this.ops.d += 1;
      this.#deletes += 1;
      return `DELETE FROM orders ${where}`;
    }
    // A key change is a delete and a create.
    const moved = { id: this.#nextId++, region: this.#random(2) === 0 ? key.region : "moved" };
    this.moves.add(`${key.id} ${key.region} → ${moved.id} ${moved.region}`);
    this.#keys[at] = moved;
    this.ops.d += 1;
    this.#deletes += 1;
    this.ops.c += 1;
    return `UPDATE orders SET id = ${moved.id}, region = '${moved.region}' ${where}`;
  }

  #insert(): string {
    const key = { id: this.#nextId++, region: ["north", "süd", ""][this.#random(3)]! };
    this.#keys.push(key);
    this.ops.c += 1;
    const amount = this.#random(5) === 0 ? "NULL" : `${this.#random(2_000_000) - 1_000_000} / 100.0`;
    return `INSERT INTO orders VALUES (${key.id}, '${key.region}', 'note', ${amount}, ${this.#random(2) === 0}, timestamptz '1969-12-31 12:00+00' + interval '${this.#random(1_000_000)} seconds')`;
  }

  /** 0 to `below` − 1; mulberry32, the same numbers in every run. */
  #random(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }
}

/** avsc refuses longs beyond 2^53 unless it is told what to make of them; a hook also finds those with a logical type. */
const bigintLong = avro.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: String,
  isValid: (value: unknown) => typeof value === "bigint",
  compare: (a: bigint, b: bigint) => (a < b ? -1 : Number(a > b)),
});

function longsAsBigints(schema: unknown): avro.Type | undefined {
  const { type } = (typeof schema === "string" ? { type: schema } : schema) as { type?: unknown };
  return type === "long" ? bigintLong : undefined;
}

function client(): kafkajs.Kafka {
  return new kafkajs.Kafka({ clientId: "foreign", brokers: brokers(), logLevel: kafkajs.logLevel.NOTHING });
}

function brokers(): () => Promise<string[]> {
  return async () => [...(await kafka()).brokers];
}

async function withAdmin<T>(work: (admin: kafkajs.Admin) => Promise<T>): Promise<T> {
  const admin = client().admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

/** Offsets that the topic's partitions have given out, in all. */
async function countOf(topic: string): Promise<number> {
  const offsets = await withAdmin((admin) => admin.fetchTopicOffsets(topic));
  return offsets.reduce((sum, { high }) => sum + Number(high), 0);
}

/** Every message of the topic as it stands now, each partition in order. */
async function readTopic(topic: string): Promise<readonly Message[]> {
  const ends = new Map(
    (await withAdmin((admin) => admin.fetchTopicOffsets(topic))).map(({ partition, high }) => [partition, Number(high)]),
  );
  const messages: Message[] = [];
  const wanted = [...ends.values()].reduce((sum, end) => sum + end, 0);
  const consumer = client().consumer({ groupId: uniqueName("foreign") });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message: { offset, key, value, headers } }) => {
      if (Number(offset) < ends.get(partition)!) messages.push({ partition, offset: Number(offset), key, value, headers });
    },
  });
  await until(async () => {
    expect(messages.length).toBe(wanted);
  });
  await consumer.disconnect();
  return messages;
}

function sequenceText({ source: { epoch, commit_lsn, ordinal } }: Envelope): string {
  const hex = (value: number | bigint, width: number): string => value.toString(16).padStart(width, "0");
  return `${hex(epoch, 4)}-${hex(commit_lsn, 16)}-${hex(ordinal, 12)}`;
}

function isAfter(a: Envelope["source"], b: Envelope["source"]): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  return a.commit_lsn === b.commit_lsn ? a.ordinal > b.ordinal : a.commit_lsn > b.commit_lsn;
}

/** Avro's decimal: two's complement, big-endian. */
function decimal(bytes: Buffer): bigint {
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString("hex")}`));
}

function parseLsn(text: string): bigint {
  const [high = "", low = ""] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

function byKey(a: { readonly id: string }, b: { readonly id: string }): number {
  return Number(a.id) - Number(b.id);
}
