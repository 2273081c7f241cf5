// A stream that keeps what it delivers, as plain values, and lets a test wait for it.
import pg from "pg";
import { toLsn, type Lsn } from "../../src/core/lsn.ts";
import { tupleState, type Tuple } from "../../src/core/tuple.ts";
import { messageTag, oldKind, PgoutputReader } from "../../src/postgres/pgoutput.ts";
import type { ConnectionSettings } from "../../src/postgres/session.ts";
import { readMark, type Mark } from "../../src/postgres/snapshot-mark.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/servers.ts";
import { openStream, type Stream, type StreamOptions } from "../../src/postgres/stream.ts";

/** A column's bytes as text, null, or undefined for an unchanged TOAST value. */
export type SeenRow = readonly (string | null | undefined)[];
export type Seen =
  | { readonly tag: "begin"; readonly finalLsn: Lsn; readonly xid: number }
  | { readonly tag: "commit"; readonly commitLsn: Lsn; readonly endLsn: Lsn }
  | {
      readonly tag: "row";
      readonly operation: "I" | "U" | "D";
      readonly old: { readonly kind: "K" | "O"; readonly row: SeenRow } | null;
      readonly new: SeenRow | null;
    }
  | { readonly tag: "message"; readonly transactional: boolean; readonly lsn: Lsn; readonly mark: Mark | null }
  | { readonly tag: "other"; readonly name: string };

export type Collector = AsyncDisposable & {
  readonly stream: Stream;
  readonly seen: readonly Seen[];
  readonly keepalives: readonly Lsn[];
  /** XLogData positions, one a message. */
  readonly positions: readonly Lsn[];
  /** Waits until the condition holds; throws what ends the stream, or after 60 s. */
  until(condition: (collector: Collector) => boolean): Promise<void>;
};

export type CollectOptions = Partial<StreamOptions> & Pick<StreamOptions, "connection" | "slot" | "publication">;

/** Streams from the slot's own position unless told otherwise. */
export async function collect(options: CollectOptions, signal = new AbortController().signal): Promise<Collector> {
  const seen: Seen[] = [];
  const keepalives: Lsn[] = [];
  const positions: Lsn[] = [];
  const reader = new PgoutputReader();
  let changed = (): void => undefined;
  const stream = await openStream(
    {
      from: toLsn(1n),
      binary: false,
      walSenderTimeoutMs: 60_000,
      ...options,
      onMessage: (bytes, start, end, high, low) => {
        options.onMessage?.(bytes, start, end, high, low);
        positions.push(lsn(high, low));
        seen.push(seenOf(reader, bytes.subarray(start, end)));
        changed();
      },
      onKeepalive: (walEnd, replyRequested) => {
        options.onKeepalive?.(walEnd, replyRequested);
        keepalives.push(walEnd);
        changed();
      },
    },
    signal,
  );
  const collector: Collector = {
    stream,
    seen,
    keepalives,
    positions,
    until: async (condition) => {
      const timeout = AbortSignal.timeout(60_000);
      while (!condition(collector)) {
        timeout.throwIfAborted();
        const next = new Promise<void>((resolve) => {
          changed = resolve;
          setTimeout(resolve, 100).unref();
        });
        await Promise.race([next, stream.ended]);
      }
    },
    [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose](),
  };
  return collector;
}

export function connectionOf(url: string): ConnectionSettings {
  return { url, applicationName: "tailrace test" };
}

export function commits(seen: readonly Seen[]): Extract<Seen, { tag: "commit" }>[] {
  return seen.filter((each) => each.tag === "commit");
}

/** First columns of the new rows, in order. */
export function newKeys(seen: readonly Seen[]): (string | null | undefined)[] {
  return seen.flatMap((each) => (each.tag === "row" && each.new !== null ? [each.new[0]] : []));
}

/** A client of its own, for statements in an open transaction. */
export async function openClient(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

/** The slot's confirmed_flush_lsn. */
export async function confirmed(database: TestDatabase, slot: string): Promise<string> {
  const rows = await database.sql<{ lsn: string }>(
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  );
  return rows[0]?.lsn ?? "no such slot";
}

/** Until nobody reads the slot: a walsender goes a moment after its connection. */
export async function untilFree(database: TestDatabase, slot: string): Promise<void> {
  const sql = "SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL";
  await eventually("the slot is free", async () => (await database.sql(sql, [slot])).length === 0);
}

/** Until no transaction of the server is older than this application's: other tests use it too, and the oldest is named. */
export async function untilOldest(database: TestDatabase, application: string): Promise<void> {
  const older = `SELECT FROM (SELECT xact_start AS since FROM pg_stat_activity WHERE backend_xid IS NOT NULL
    UNION ALL SELECT prepared FROM pg_prepared_xacts) open
    WHERE since < (SELECT min(xact_start) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database())`;
  await eventually("no transaction is older", async () => (await database.sql(older, [application])).length === 0);
}

function seenOf(reader: PgoutputReader, bytes: Buffer): Seen {
  switch (reader.read(bytes)) {
    case messageTag.begin:
      return { tag: "begin", finalLsn: lsn(reader.finalLsnHigh, reader.finalLsnLow), xid: reader.xid };
    case messageTag.commit:
      return { tag: "commit", commitLsn: lsn(reader.commitLsnHigh, reader.commitLsnLow), endLsn: lsn(reader.endLsnHigh, reader.endLsnLow) };
    case messageTag.insert:
      return { tag: "row", operation: "I", old: null, new: rowOf(reader.newTuple) };
    case messageTag.update:
      return { tag: "row", operation: "U", old: oldOf(reader), new: rowOf(reader.newTuple) };
    case messageTag.delete:
      return { tag: "row", operation: "D", old: oldOf(reader), new: null };
    case messageTag.message:
      return {
        tag: "message",
        transactional: reader.messageTransactional,
        lsn: lsn(reader.messageLsnHigh, reader.messageLsnLow),
        mark: readMark(bytes, reader),
      };
    default:
      return { tag: "other", name: String.fromCharCode(bytes[0] ?? 0) };
  }
}

function oldOf(reader: PgoutputReader): { kind: "K" | "O"; row: SeenRow } | null {
  if (reader.oldKind === oldKind.none) return null;
  return { kind: reader.oldKind === oldKind.key ? "K" : "O", row: rowOf(reader.oldTuple) };
}

function rowOf(tuple: Tuple): SeenRow {
  return Array.from({ length: tuple.columns }, (_, i) => {
    if (tuple.state[i] === tupleState.null) return null;
    if (tuple.state[i] === tupleState.unchanged) return undefined;
    const start = tuple.start[i] ?? 0;
    return tuple.bytes.toString(tuple.state[i] === tupleState.binary ? "hex" : "utf8", start, start + (tuple.length[i] ?? 0));
  });
}

function lsn(high: number, low: number): Lsn {
  return toLsn((BigInt(high) << 32n) | BigInt(low));
}
