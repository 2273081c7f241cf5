import { Kafka, logLevel } from "kafkajs";
import { expect, test } from "vitest";
import { type KafkaServer, startKafka } from "../support/kafka.ts";
import { startRegistry } from "../support/registry.ts";
import { describeWithKafka, describeWithRegistry, kafka, registry, uniqueName } from "../support/servers.ts";

function client(brokers: readonly string[], login: KafkaServer["secure"] = null): Kafka {
  const secure = login && {
    ssl: { ca: [login.ca] },
    sasl: { mechanism: "scram-sha-512" as const, username: login.username, password: login.password },
  };
  return new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, retry: { retries: 3 }, ...secure });
}

async function append(kafkajs: Kafka, topic: string, value: string): Promise<void> {
  const producer = kafkajs.producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value }] });
  await producer.disconnect();
}

async function endOffset(kafkajs: Kafka, topic: string): Promise<string | undefined> {
  const admin = kafkajs.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  return offsets[0]?.high;
}

async function createTopic(kafkajs: Kafka, topic: string): Promise<void> {
  const admin = kafkajs.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic }], waitForLeaders: true });
  await admin.disconnect();
}

describeWithKafka("Kafka for tests", () => {
  test("the shared broker makes no topic by itself, and keeps what it is given", async () => {
    const { brokers } = await kafka();
    const topic = uniqueName("plain");
    await expect(append(client(brokers), topic, "too early")).rejects.toThrow();
    await createTopic(client(brokers), topic);
    await append(client(brokers), topic, "x");
    expect(await endOffset(client(brokers), topic)).toBe("1");
  });

  test("a broker of one's own comes back on the same port with its data after kill -9, and lets users in over TLS", async () => {
    await using server = await startKafka({ secure: { username: "cdc", password: "s3cret" } });
    const topic = uniqueName("kept");
    await createTopic(client(server.brokers), topic);
    await append(client(server.brokers), topic, "x");
    await server.kill();
    expect(server.pid).toBeNull();
    await server.restart();
    expect(await endOffset(client(server.brokers), topic)).toBe("1");

    const { secure } = server;
    if (secure === null) throw new Error("asked for, not there");
    await append(client(secure.brokers, secure), topic, "y");
    expect(await endOffset(client(secure.brokers, secure), topic)).toBe("2");
    await expect(endOffset(client(secure.brokers, { ...secure, password: "wrong" }), topic)).rejects.toThrow(/SCRAM|credentials/i);
  });
});

describeWithRegistry("Apicurio for tests", () => {
  const schema = JSON.stringify({ schema: '"string"' });
  const post = { method: "POST", headers: { "content-type": "application/vnd.schemaregistry.v1+json" }, body: schema };

  test("the shared registry registers a schema and gives it back by its id", async () => {
    const { url } = await registry();
    const registered = await fetch(`${url}/subjects/${uniqueName("subject")}-value/versions`, post);
    const { id } = (await registered.json()) as { id: number };
    expect(await (await fetch(`${url}/schemas/ids/${id}`)).json()).toMatchObject({ schema: '"string"' });
  });

  test("a registry of one's own stops and starts again, empty", async () => {
    await using server = await startRegistry();
    await fetch(`${server.url}/subjects/a-value/versions`, post);
    expect(await (await fetch(`${server.url}/subjects`)).json()).toEqual(["a-value"]);
    await server.kill();
    await expect(fetch(`${server.url}/subjects`)).rejects.toThrow();
    await server.restart();
    expect(await (await fetch(`${server.url}/subjects`)).json()).toEqual([]);
  });
});
