// TLS and SCRAM: both libraries log in, with the credentials of the moment, and a refused login has its own name.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KafkaOptions } from "../../src/log/kafka/options.ts";
import { startKafka } from "../support/kafka.ts";
import type { KafkaServer } from "../support/kafka.ts";
import { describeWithKafka } from "../support/servers.ts";
import { closeLater, eventually, makeTopic, numbered, numberOf, numbersOf, openLog, range, within } from "./log-fixture.ts";

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
      const polled = await reader.poll({ maxBytes: 1_000, waitMs: 500 }, within(5_000));
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
});
