// What the stream promises, and the traps that a library fell into: each is shown with the naive use first.
import { LogicalReplicationService, PgoutputPlugin } from "pg-logical-replication";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { TailraceError } from "../../src/core/errors.ts";
import { formatLsn, parseLsn, toLsn, type Lsn } from "../../src/core/lsn.ts";
import { eventually } from "../support/eventually.ts";
import { postgres, uniqueName, type TestDatabase } from "../support/servers.ts";
import { collect, commits, confirmed, connectionOf, newKeys, openClient, untilFree, type Collector, type Seen } from "./collect.ts";

let database: TestDatabase;
let slot: string;
let publication: string;

beforeAll(async () => {
  database = await (await postgres()).createDatabase("stream");
  await database.sql("CREATE TABLE item (id int PRIMARY KEY, note text); CREATE TABLE unwatched (id int)");
});
afterAll(() => database[Symbol.asyncDispose]());
beforeEach(async () => {
  slot = uniqueName("stream");
  publication = uniqueName("stream");
  await database.sql("TRUNCATE item");
  await database.sql(`CREATE PUBLICATION ${publication} FOR TABLE item`);
  await makeSlot(slot);
});

const makeSlot = (name: string): Promise<unknown> => database.sql(`SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`);
const open = (options: Partial<Parameters<typeof collect>[0]> = {}, signal?: AbortSignal): Promise<Collector> =>
  collect({ connection: connectionOf(database.url), slot, publication, ...options }, signal);
const confirmedLsn = (): Promise<string> => confirmed(database, slot);
const insert = (id: number): Promise<unknown> => database.sql(`INSERT INTO item VALUES (${id}, 'note')`);
const errorOf = async (promise: Promise<unknown>): Promise<TailraceError> => {
  const error: unknown = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TailraceError)) throw new Error(`expected a TailraceError, got ${String(error)}`);
  return error;
};

/** Two transactions, the second's commit record right behind the first's, nothing between them. */
async function adjacentCommits(keys: readonly [number, number]): Promise<void> {
  await using first = await openClient(database.url);
  await using second = await openClient(database.url);
  for (const [client, key] of [
    [first, keys[0]],
    [second, keys[1]],
  ] as const) {
    await client.query("BEGIN; SET LOCAL synchronous_commit = off");
    await client.query("INSERT INTO item VALUES ($1, 'adjacent')", [key]);
  }
  await Promise.all([first.query("COMMIT"), second.query("COMMIT")]);
}

function adjacentPair(seen: readonly Seen[]): { firstEnd: Lsn; secondKey: string } | null {
  const all = commits(seen);
  const keys = newKeys(seen);
  const at = all.findIndex((commit, i) => all[i + 1]?.commitLsn === commit.endLsn);
  return at === -1 ? null : { firstEnd: all[at]?.endLsn ?? toLsn(0n), secondKey: keys[at + 1] ?? "" };
}

test("R-ack: of two adjacent commits the second survives the acknowledgement of the first; pg-logical-replication's acknowledge() loses it", async () => {
  const naive = uniqueName("naive");
  await makeSlot(naive);
  let pair = null;
  await using reader = await open({ slot: naive });
  // Other tests share this server, and any record of theirs may come between: try until the two are neighbours.
  for (let key = 1, until = performance.now() + 90_000; pair === null && performance.now() < until; key += 2) {
    await adjacentCommits([key, key + 1]);
    await reader.until(({ seen }) => commits(seen).length === key + 1);
    pair = adjacentPair(reader.seen);
  }
  if (pair === null) throw new Error("no two adjacent commits came about");
  const { firstEnd, secondKey } = pair;
  await reader[Symbol.asyncDispose]();
  await untilFree(database, naive);

  const library = new LogicalReplicationService({ connectionString: database.url }, { acknowledge: { auto: false, timeoutSeconds: 0 } });
  const started = new Promise<void>((resolve) => void library.on("start", resolve));
  const ended = library.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), naive);
  await started;
  await library.acknowledge(formatLsn(firstEnd));
  await waitFor(async () => (await confirmed(database, naive)) === formatLsn(toLsn(firstEnd + 1n)));
  await Promise.all([library.destroy(), ended.catch(() => undefined)]);
  await untilFree(database, naive);

  await using ours = await open();
  await ours.until(({ seen }) => newKeys(seen).includes(secondKey));
  ours.stream.acknowledge(firstEnd);
  await waitFor(async () => (await confirmedLsn()) === formatLsn(firstEnd));
  await ours[Symbol.asyncDispose]();
  await untilFree(database, slot);

  await insert(1000);
  await using afterNaive = await open({ slot: naive });
  await afterNaive.until(({ seen }) => newKeys(seen).includes("1000"));
  expect(newKeys(afterNaive.seen)).not.toContain(secondKey);
  await using afterOurs = await open();
  await afterOurs.until(({ seen }) => newKeys(seen).includes("1000"));
  expect(newKeys(afterOurs.seen)[0]).toBe(secondKey);
});

test("R-ack: nothing is confirmed that was only received; pg-logical-replication's standby timer confirms it", async () => {
  const naive = uniqueName("naive");
  await makeSlot(naive);
  const before = await confirmedLsn();
  const library = new LogicalReplicationService({ connectionString: database.url }, { acknowledge: { auto: false, timeoutSeconds: 1 } });
  const ended = library.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), naive);
  await using ours = await open({ walSenderTimeoutMs: 3_000 }); // a status update every second
  await insert(1);
  await ours.until(({ seen, keepalives }) => commits(seen).length === 1 && keepalives.length > 4);

  const naivelyConfirmed = async (): Promise<Lsn> => parseLsn(await confirmed(database, naive));
  await waitFor(async () => (await naivelyConfirmed()) >= (commits(ours.seen)[0]?.commitLsn ?? 0n));
  expect(await confirmedLsn()).toBe(before);
  await Promise.all([library.destroy(), ended.catch(() => undefined)]);
});

test("R-ack: a transaction that is open across acknowledged idle keepalives arrives whole after a restart", async () => {
  await using writer = await openClient(database.url);
  await writer.query("BEGIN; INSERT INTO item VALUES (1, 'before the keepalive')");
  const [written] = await database.sql<{ lsn: string }>("SELECT pg_current_wal_insert_lsn()::text AS lsn");
  await using first = await open({ walSenderTimeoutMs: 3_000 });
  await database.sql("INSERT INTO unwatched VALUES (1)");
  await first.until(({ keepalives }) => (keepalives.at(-1) ?? 0n) > parseLsn(written?.lsn ?? ""));
  const idle = first.keepalives.at(-1) ?? toLsn(0n);
  first.stream.acknowledge(idle);
  await waitFor(async () => parseLsn(await confirmedLsn()) >= idle);
  await first[Symbol.asyncDispose]();
  await untilFree(database, slot);

  await writer.query("INSERT INTO item VALUES (2, 'after it'); COMMIT");
  await using second = await open({ from: idle });
  await second.until(({ seen }) => commits(seen).length === 1);
  expect(newKeys(second.seen)).toEqual(["1", "2"]);
});

test("an acknowledgement never moves back", async () => {
  await using reader = await open();
  await insert(1);
  await insert(2);
  await reader.until(({ seen }) => commits(seen).length === 2);
  const [first, second] = commits(reader.seen);
  reader.stream.acknowledge(second?.endLsn ?? toLsn(0n));
  reader.stream.acknowledge(first?.endLsn ?? toLsn(0n));
  await waitFor(async () => (await confirmedLsn()) === formatLsn(second?.endLsn ?? toLsn(0n)));
});

test("messages of any length come whole, however the socket cuts them", async () => {
  await using reader = await open();
  await database.sql(
    "INSERT INTO item SELECT g, repeat('x', CASE WHEN g % 500 = 0 THEN 200000 ELSE g % 300 END) FROM generate_series(1, 5000) g",
  );
  await reader.until(({ seen }) => commits(seen).length === 1);
  const rows = reader.seen.flatMap((each) => (each.tag === "row" && each.new !== null ? [each.new] : []));
  const expected = Array.from({ length: 5_000 }, (_, i) => [String(i + 1), (i + 1) % 500 === 0 ? 200_000 : (i + 1) % 300]);
  expect(rows.map(([id, note]) => [id, note?.length])).toEqual(expected);
});

test("each message comes with its own WAL position", async () => {
  await using reader = await open();
  await insert(1);
  await database.sql("UPDATE item SET note = 'b'; DELETE FROM item");
  await reader.until(({ seen }) => commits(seen).length === 2);
  const begin = reader.seen.findIndex((each) => each.tag === "begin");
  const row = reader.positions[reader.seen.findIndex((each) => each.tag === "row")] ?? 0n;
  expect(row).toBeGreaterThan(0n);
  expect(row).toBeLessThan((reader.seen[begin] as Extract<Seen, { tag: "begin" }>).finalLsn);
});

test("what onMessage throws ends the stream with that error, not the process", async () => {
  await using reader = await open({
    onMessage: () => {
      throw new TailraceError("STREAM_PROTOCOL", { reason: "as the test wants" });
    },
  });
  await insert(1);
  expect((await errorOf(reader.stream.ended)).code).toBe("STREAM_PROTOCOL");
});

describe("pausing", () => {
  test("a paused stream delivers no more than a chunk, is not timed out by the server, and goes on where it was", async () => {
    await database.sql(`ALTER DATABASE ${database.name} SET wal_sender_timeout = '3s'`);
    await using reader = await open({ walSenderTimeoutMs: 3_000 });
    await database.sql(`ALTER DATABASE ${database.name} RESET wal_sender_timeout`);
    reader.stream.pause();
    await database.sql("INSERT INTO item SELECT g, repeat('x', 500) FROM generate_series(1, 50000) g");
    await new Promise((resolve) => setTimeout(resolve, 7_000)); // more than twice the timeout: the silence is the test
    expect(newKeys(reader.seen).length).toBeLessThan(2_000);
    reader.stream.resume();
    await reader.until(({ seen }) => commits(seen).length === 1);
    expect(newKeys(reader.seen).length).toBe(50_000);
  });

  test("a stream that is paused in the middle of a large transaction releases its slot within a second", async () => {
    const abort = new AbortController();
    const reader = await open({}, abort.signal);
    reader.stream.pause();
    await database.sql("INSERT INTO item SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g");
    const since = performance.now();
    abort.abort(new Error("asked to stop"));
    await expect(reader.stream.ended).rejects.toThrow("asked to stop");
    await untilFree(database, slot);
    expect(performance.now() - since).toBeLessThan(10_000); // one second for the stream, the rest for a busy machine
  });
});

describe("ends", () => {
  test("closing hands in the last acknowledgement and frees the slot at once", async () => {
    const reader = await open();
    await insert(1);
    await reader.until(({ seen }) => commits(seen).length === 1);
    const end = commits(reader.seen)[0]?.endLsn ?? toLsn(0n);
    reader.stream.acknowledge(end);
    await reader[Symbol.asyncDispose]();
    await untilFree(database, slot);
    expect(await confirmedLsn()).toBe(formatLsn(end));
  });

  test("an abort while connecting is prompt", async () => {
    const abort = new AbortController();
    const opening = open({}, abort.signal);
    abort.abort(new Error("changed my mind"));
    await expect(opening).rejects.toThrow("changed my mind");
    await new Promise((resolve) => setTimeout(resolve, 200)); // long enough for a connection that was not given up to take the slot
    expect(await activePid()).toBeNull();
  });

  test("SLOT_ACTIVE names the process that reads the slot", async () => {
    await using _reader = await open();
    const error = await errorOf(open());
    expect(error.code).toBe("SLOT_ACTIVE");
    expect(error.message).toContain(`PID ${await activePid()}`);
  });

  test("a missing slot is SLOT_MISSING, no server is DATABASE_UNREACHABLE", async () => {
    expect((await errorOf(open({ slot: "nowhere" }))).code).toBe("SLOT_MISSING");
    const gone = new URL(database.url);
    gone.port = "1";
    expect((await errorOf(open({ connection: connectionOf(gone.href) }))).code).toBe("DATABASE_UNREACHABLE");
  });

  test("R-publication: a publication that is dropped while streaming ends the stream", async () => {
    await using reader = await open();
    await insert(1);
    await reader.until(({ seen }) => commits(seen).length === 1);
    await database.sql(`DROP PUBLICATION ${publication}`);
    await insert(2);
    expect((await errorOf(reader.stream.ended)).code).toBe("PUBLICATION_MISSING");
  });

  test("a terminated walsender is STREAM_LOST, to be tried again", async () => {
    await using reader = await open();
    await database.sql(`SELECT pg_terminate_backend(${await activePid()})`);
    const error = await errorOf(reader.stream.ended);
    expect([error.code, error.retry]).toEqual(["STREAM_LOST", "auto"]);
  });

  test.runIf(process.env.TEST_PG_URL === undefined)("a server that falls silent is STREAM_LOST", async () => {
    await using reader = await open({ walSenderTimeoutMs: 900 });
    const pid = (await activePid()) ?? 0;
    process.kill(pid, "SIGSTOP");
    try {
      expect((await errorOf(reader.stream.ended)).message).toContain("silent");
    } finally {
      process.kill(pid, "SIGCONT");
    }
  });
});

test("text comes in one form whatever the database has set", async () => {
  await database.sql(`ALTER DATABASE ${database.name} SET DateStyle = 'German'; ALTER DATABASE ${database.name} SET bytea_output = 'escape';
    ALTER DATABASE ${database.name} SET IntervalStyle = 'sql_standard'; ALTER DATABASE ${database.name} SET TimeZone = 'Asia/Tokyo';
    ALTER DATABASE ${database.name} SET extra_float_digits = -5;
    CREATE TABLE forms (id int PRIMARY KEY, d date, t timestamptz, i interval, b bytea, f float8); ALTER PUBLICATION ${publication} ADD TABLE forms`);
  await using reader = await open();
  await database.sql("INSERT INTO forms VALUES (1, '2026-02-03', '2026-02-03 04:05:06+00', '1 day 2:03', '\\xff00', 0.1::float8 + 0.2)");
  await reader.until(({ seen }) => commits(seen).length === 1);
  expect(reader.seen.find((each) => each.tag === "row")).toMatchObject({
    new: ["1", "2026-02-03", "2026-02-03 04:05:06+00", "P1DT2H3M", "\\xff00", "0.30000000000000004"],
  });
});

test("names with quotes, commas, capitals and backslashes reach the server as they are", async () => {
  const odd = `Odd "name", it's\\one`;
  await database.sql(`CREATE PUBLICATION "${odd.replaceAll('"', '""')}" FOR TABLE item`);
  await using reader = await open({ publication: odd });
  await insert(1);
  await reader.until(({ seen }) => commits(seen).length === 1);
});

async function activePid(): Promise<number | null> {
  const [row] = await database.sql<{ pid: number | null }>("SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1", [
    slot,
  ]);
  return row?.pid ?? null;
}

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  await eventually("it comes about", condition);
}
