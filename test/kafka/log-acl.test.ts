// Rights on a broker with an authorizer: what is refused has Kafka's name and a place, is tried again by itself, and loses nothing.
import kafkajs from "kafkajs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { KafkaOptions } from "../../src/log/kafka/options.ts";
import { Scene, sourceDocument } from "../e2e/scene.ts";
import { SourceScene } from "../postgres/source/source-scene.ts";
import { startKafka, type KafkaServer } from "../support/kafka.ts";
import { describeWithKafka, postgres, registry, uniqueName } from "../support/servers.ts";
import { closeLater, eventually, makeTopic, numbered, numbersOf, openLog, plainOptions, range, within } from "./log-fixture.ts";

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;
const USER = "cdc";

describeWithKafka("a broker with an authorizer", () => {
  const login = { username: USER, password: "right-horse-battery" };
  let broker: KafkaServer;
  let admin: kafkajs.Admin;
  beforeAll(async () => {
    // Who comes without a login is the broker itself, and this test's administrator.
    const settings = {
      "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
      "super.users": "User:ANONYMOUS",
    };
    broker = await startKafka({ secure: login, settings });
    admin = new kafkajs.Kafka({ brokers: [...broker.brokers], logLevel: kafkajs.logLevel.NOTHING }).admin();
    await admin.connect();
  });
  afterAll(async () => {
    await admin.disconnect();
    await broker[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    await admin.deleteAcls({ filters: [{ ...everyAcl, principal: `User:${USER}` }] });
    await seen(0);
  });

  const user = (): KafkaOptions => ({
    brokers: broker.secure?.brokers ?? [],
    clientId: "acl",
    ssl: () => ({ ca: broker.secure?.ca ?? "" }),
    sasl: { mechanism: "scram-sha-512", credentials: () => login },
    log: null,
  });
  const everyAcl = {
    resourceType: AclResourceTypes.ANY,
    resourcePatternType: ResourcePatternTypes.ANY,
    operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY,
  };
  /** Until the broker goes by so many rules. */
  const seen = (count: number): Promise<void> =>
    eventually(async () => {
      const { resources } = await admin.describeAcls({ ...everyAcl, principal: `User:${USER}` });
      expect(resources.reduce((sum, { acls }) => sum + acls.length, 0)).toBe(count);
    });
  const ruleOf = (
    resourceName: string,
    operation: kafkajs.AclOperationTypes,
    permissionType: kafkajs.AclPermissionTypes,
  ): kafkajs.AclEntry => ({
    resourceType: AclResourceTypes.TOPIC,
    resourceName,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: `User:${USER}`,
    host: "*",
    operation,
    permissionType,
  });
  /** All rights on all topics. */
  const allow = async (): Promise<void> => {
    await admin.createAcls({ acl: [ruleOf("*", AclOperationTypes.ALL, AclPermissionTypes.ALLOW)] });
    await seen(1);
  };
  const denyWriting = async (topic: string): Promise<void> => {
    await admin.createAcls({ acl: [ruleOf(topic, AclOperationTypes.WRITE, AclPermissionTypes.DENY)] });
    await seen(2);
  };
  const denyDescribing = async (topics: readonly string[]): Promise<void> => {
    await admin.createAcls({ acl: topics.map((topic) => ruleOf(topic, AclOperationTypes.DESCRIBE, AclPermissionTypes.DENY)) });
    await seen(1 + topics.length);
  };
  const allowWriting = async (topic: string): Promise<void> => {
    await admin.deleteAcls({ filters: [ruleOf(topic, AclOperationTypes.WRITE, AclPermissionTypes.DENY)] });
    await seen(1);
  };
  const refused = (topic: string): object => ({
    code: "LOG_REFUSED",
    retry: "auto",
    message: expect.stringMatching(new RegExp(`${topic} partition 0: TOPIC_AUTHORIZATION_FAILED`)) as string,
  });

  test("R-writer: a right to write that is taken away ends the writer by Kafka's name for it; what was under way is not in the log, and a later writer goes on", async () => {
    await allow();
    const log = openLog(user());
    const topic = await makeTopic(log);
    const writer = closeLater(await log.openWriter({ name: "first" }, within(20_000)));
    expect(await writer.append([numbered(topic, 0, 0, 3)], within(20_000))).toEqual([0]);
    await denyWriting(topic);
    const appends = await Promise.allSettled(range(3, 6).map((number) => writer.append([numbered(topic, 0, number)], within(20_000))));
    for (const append of appends) expect(append).toMatchObject({ status: "rejected", reason: refused(topic) });
    await allowWriting(topic);
    await expect(writer.append([numbered(topic, 0, 3)], within(20_000))).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    expect(await numbersOf(log, topic)).toEqual(range(0, 3));
    const next = closeLater(await log.openWriter({ name: "second" }, within(20_000)));
    expect(await next.append([numbered(topic, 0, 3, 2)], within(20_000))).toEqual([3]);
    expect(await numbersOf(log, topic)).toEqual(range(0, 5));
  });

  test("a source without the right to write its topic says so and goes on when it has it: every row is there once", async () => {
    await allow();
    await using database = await (await postgres()).createDatabase("acl");
    await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
    await using scene = await SourceScene.open(database, { log: openLog(user()) });
    const topic = scene.topic("item");
    await scene.while(async () => {
      await database.sql("INSERT INTO item VALUES (1)");
      await scene.untilRows("item", 1);
    });
    await denyWriting(topic);
    await database.sql("INSERT INTO item SELECT generate_series(2, 100)");
    expect(await scene.refusal()).toMatchObject(refused(topic));
    await allowWriting(topic);
    await scene.while(async () => scene.untilRows("item", 100));
    expect((await scene.rows("item")).map(({ id }) => id)).toEqual(range(1, 101));
  });

  test("a source that may not see some of its topics names them, makes none in their place, and goes on when it may", async () => {
    await allow();
    await using database = await (await postgres()).createDatabase("acl");
    await database.sql("CREATE TABLE item (id int PRIMARY KEY)");
    await using scene = await SourceScene.open(database, { log: openLog(user()) });
    const { prefix } = scene.options.topics;
    await scene.while(async () => {
      await database.sql("INSERT INTO item VALUES (1)");
      await scene.untilRows("item", 1);
    });
    for (const topic of [`${prefix}.state`, `${prefix}.barriers`, `${prefix}.dead_letters`, scene.topic("item")]) {
      await denyDescribing([topic]);
      expect(await scene.refusal()).toMatchObject({
        code: "LOG_DENIED",
        retry: "auto",
        message: expect.stringMatching(new RegExp(`TOPIC_AUTHORIZATION_FAILED: DESCRIBE on topic ${topic}$`)) as string,
      });
      await admin.deleteAcls({ filters: [ruleOf(topic, AclOperationTypes.DESCRIBE, AclPermissionTypes.DENY)] });
      await seen(1);
    }
    await database.sql("INSERT INTO item SELECT generate_series(2, 100)");
    await scene.while(async () => scene.untilRows("item", 100));
    expect((await scene.rows("item")).map(({ id }) => id)).toEqual(range(1, 101));
  });

  test("check names the topics that may not be seen, those that are to be made among them, with the fix, and is no connection's fault", async () => {
    await allow();
    await using database = await (await postgres()).createDatabase("acl");
    await database.sql(
      "CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE third (id int PRIMARY KEY)",
    );
    const prefix = uniqueName("acl");
    const service = closeLater(await Scene.open());
    const { brokers = [], ca = "" } = broker.secure ?? {};
    await service.configure(
      {
        kind: "service",
        log: { kafka: { brokers, ssl: { ca }, sasl: { mechanism: "scram-sha-512", ...login } } },
        registry: { url: (await registry()).url },
      },
      sourceDocument({
        name: "shop",
        url: database.url,
        tables: ["public.*"],
        postgres: { slot: prefix, publication: prefix },
        topics: { prefix },
      }),
    );
    const good = await service.command("check");
    expect(good.code, good.stdout).toBe(0);
    await denyDescribing([`${prefix}.public.item`, `${prefix}.public.other`]);
    const { code, stdout } = await service.command("check", ["--json"]);
    const { findings } = JSON.parse(stdout) as { findings: readonly { kind: string }[] };
    expect(findings.filter(({ kind }) => kind === "problem")).toEqual([
      {
        of: "source shop",
        kind: "problem",
        code: "LOG_DENIED",
        message: `the log refuses to list topics: TOPIC_AUTHORIZATION_FAILED: DESCRIBE on topic ${prefix}.public.item, ${prefix}.public.other`,
        fix: expect.stringContaining("an ACL") as string,
        silent: false,
      },
    ]);
    expect(code).toBe(3);
  });

  test("a user without any right is told what is refused, for every kind of call", async () => {
    const topic = await makeTopic(openLog(plainOptions(broker.brokers)));
    const log = openLog(user());
    const attempts = {
      topics: () => log.topics([topic], within(20_000)),
      createTopic: () => log.createTopic({ name: `${topic}_2`, partitions: 1, replication: -1, configs: {} }, within(40_000)),
      offsets: () => log.offsets(topic, within(20_000)),
      topicConfigs: () => log.topicConfigs(topic, ["cleanup.policy"], within(20_000)),
      read: () => log.read({ topic, partition: 0, offset: 0 }, 1_000, within(20_000)),
      openWriter: () => log.openWriter({ name: "denied" }, within(20_000)),
    };
    const outcomes: Record<string, unknown> = {};
    for (const [name, attempt] of Object.entries(attempts)) {
      outcomes[name] = await attempt().then(
        (value) => value,
        (error: unknown) => error,
      );
    }
    const denied = (operation: string, name: string): unknown => ({
      code: "LOG_DENIED",
      message: expect.stringMatching(new RegExp(`refuses to ${operation}.*${name}_AUTHORIZATION_FAILED`)) as string,
    });
    expect(outcomes).toMatchObject({
      topics: denied("list topics: ", "TOPIC"),
      createTopic: denied("create", "TOPIC"),
      offsets: denied("", "TOPIC"),
      topicConfigs: denied("", "TOPIC"),
      read: denied("", "TOPIC"),
      openWriter: denied("give out a producer id", "CLUSTER"),
    });
  });
});
