// TLS and SCRAM: both libraries log in, with the credentials of the moment, and a refused login has its own name.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Credentials, KafkaOptions } from "../../src/log/kafka/options.ts";
import { startKafka } from "../support/kafka.ts";
import type { KafkaServer } from "../support/kafka.ts";
import { describeWithKafka } from "../support/servers.ts";
import { closeLater, eventually, makeTopic, numbered, numberOf, numbersOf, openLog, plainOptions, range, within } from "./log-fixture.ts";

describeWithKafka("the login of the Kafka log", () => {
  const login = { username: "cdc", password: "right-horse-battery" };
  let broker: KafkaServer;
  beforeAll(async () => {
    broker = await startKafka({ secure: login });
  });
  afterAll(() => broker[Symbol.asyncDispose]());

  const secure = (changes: Partial<KafkaOptions> = {}): KafkaOptions => ({
    brokers: broker.secure?.brokers ?? [],
    clientId: "login",
    ssl: () => ({ ca: broker.secure?.ca ?? "" }),
    sasl: { mechanism: "scram-sha-512", credentials: () => login },
    log: null,
    ...changes,
  });
  const withPassword = (password: () => string): KafkaOptions =>
    secure({ sasl: { mechanism: "scram-sha-512", credentials: () => ({ username: login.username, password: password() }) } });

  test("everything works over TLS and SCRAM-SHA-512", async () => {
    const log = openLog(secure());
    const topic = await makeTopic(log);
    const writer = closeLater(await log.openWriter({ name: "secure" }, within(20_000)));
    await writer.append([numbered(topic, 0, 0, 3)], within(20_000));
    expect(await numbersOf(log, topic)).toEqual(range(0, 3));
    expect(await log.topicConfigs(topic, ["cleanup.policy"], within(20_000))).toEqual({ "cleanup.policy": "delete" });
    const reader = closeLater(await log.openReader(topic, [{ topic, partition: 0, offset: 1 }], within(20_000)));
    await eventually(async () => {
      const polled = await reader.poll({ maxBytes: 1_000, waitMs: 500 }, within(20_000));
      expect(polled.flatMap(({ records }) => records.map(numberOf))).toEqual([1, 2]);
    });
  });

  test("a wrong password is LOG_LOGIN for every kind of call, and never in the message", async () => {
    const log = openLog(withPassword(() => "wrong-secret"));
    for (const attempt of [
      () => log.topics(["t"], within(20_000)),
      () => log.createTopic({ name: "t", partitions: 1, replication: -1, configs: {} }, within(40_000)),
      () => log.openWriter({ name: "w" }, within(20_000)),
      () => log.openReader("g", [{ topic: "t", partition: 0, offset: 0 }], within(20_000)),
    ]) {
      const error = await attempt().then(
        () => expect.unreachable(),
        (thrown: unknown) => thrown,
      );
      expect(error).toMatchObject({ code: "LOG_LOGIN", message: expect.stringMatching(/authentication failed/i) });
      expect(JSON.stringify(error)).not.toContain("wrong-secret");
    }
  });

  test("a password that is corrected is taken at the next attempt, without a new log", async () => {
    let password = "old";
    const log = openLog(withPassword(() => password));
    await expect(log.topics(["t"], within(20_000))).rejects.toMatchObject({ code: "LOG_LOGIN" });
    await expect(makeTopic(log)).rejects.toMatchObject({ code: "LOG_LOGIN" });
    password = login.password;
    expect(await log.topics(["t"], within(20_000))).toEqual([]);
    const topic = await makeTopic(log);
    const writer = closeLater(await log.openWriter({ name: "w" }, within(20_000)));
    expect(await writer.append([numbered(topic, 0, 0)], within(20_000))).toEqual([0]);
  });

  test("credentials that can't be had are LOG_LOGIN with their own words", async () => {
    const log = openLog(
      withPassword(() => {
        throw new Error("KAFKA_PASSWORD is not set");
      }),
    );
    await expect(log.topics(["t"], within(20_000))).rejects.toMatchObject({
      code: "LOG_LOGIN",
      message: expect.stringContaining("KAFKA_PASSWORD is not set"),
    });
    await expect(makeTopic(log)).rejects.toMatchObject({
      code: "LOG_LOGIN",
      message: expect.stringContaining("KAFKA_PASSWORD is not set"),
    });
  });

  test("a certificate of an unknown authority is LOG_LOGIN", async () => {
    const log = openLog(secure({ ssl: () => ({}) }));
    await expect(log.topics(["t"], within(20_000))).rejects.toMatchObject({
      code: "LOG_LOGIN",
      message: expect.stringMatching(/self.signed/i),
    });
    await expect(makeTopic(log)).rejects.toMatchObject({ code: "LOG_LOGIN", message: expect.stringMatching(/self.signed/i) });
  });

  test("TLS to a listener without it ends, bounded", async () => {
    const log = openLog(secure({ brokers: broker.brokers }));
    await expect(log.topics(["t"], within(20_000))).rejects.toMatchObject({ code: expect.stringMatching(/LOG_LOGIN|LOG_UNREACHABLE/) });
  });

  test("a writer goes on while its connection logs in again, and when it may not any more", async () => {
    // A login is good for 2 s, and the library logs in again before they are over (KIP-368). kafkajs can't: it makes topics without login.
    const settings = { "listener.name.secure.connections.max.reauth.ms": 2_000 };
    await using server = await startKafka({ secure: login, settings });
    const plain = openLog(plainOptions(server.brokers));
    const topic = await makeTopic(plain);
    let password = login.password;
    const credentials = (): Credentials => ({ username: login.username, password });
    const log = openLog({
      ...plainOptions(server.secure?.brokers ?? []),
      ssl: () => ({ ca: server.secure?.ca ?? "" }),
      sasl: { mechanism: "scram-sha-512", credentials },
    });
    const writer = closeLater(await log.openWriter({ name: "again" }, within(20_000)));
    let next = 0;
    const appendFor = async (ms: number): Promise<void> => {
      for (const end = performance.now() + ms; performance.now() < end;) {
        const from = next;
        next += 8;
        await Promise.all(
          range(from, next).map(async (number) => {
            expect(await writer.append([numbered(topic, 0, number)], within(20_000))).toEqual([number]);
          }),
        );
      }
    };
    await appendFor(5_000);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await appendFor(100);
    password = "wrong-secret";
    await expect(appendFor(10_000)).rejects.toMatchObject({ code: "LOG_LOGIN" });
    const found = await numbersOf(plain, topic);
    expect(found).toEqual(range(0, found.length));
  });
});
