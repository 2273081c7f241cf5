// A COPY's answer on a socket whose chunks end anywhere: the rows to the taker, all else, whole, to the client's own listener.
import { EventEmitter } from "node:events";
import fc from "fast-check";
import type { Connection } from "pg";
import { expect, test } from "vitest";
import { CopyOut } from "../../../src/postgres/copy-out.ts";

const COPY_DATA = "d";
const READY = message("Z", Buffer.from("T"));

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.from(`${type}0000`);
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

/** What the client's listener sees of these chunks, and what the taker, while a CopyOut runs. */
function copied(chunks: readonly Buffer[], take: (row: Buffer) => boolean): { readonly passed: Buffer[]; readonly copy: CopyOut } {
  const stream = new EventEmitter();
  const passed: Buffer[] = [];
  const own = (bytes: Buffer): void => void passed.push(bytes);
  stream.on("data", own);
  const connection = Object.assign(new EventEmitter(), { stream, query: () => undefined });
  const copy = new CopyOut("COPY", (bytes, start, end) => take(Buffer.from(bytes.subarray(start, end))));
  copy.submit(connection as unknown as Connection);
  for (const chunk of chunks) {
    const reused = Buffer.from(chunk);
    stream.emit("data", reused);
    if (stream.listeners("data")[0] !== own) reused.fill(0xff); // as by the next read
  }
  return { passed, copy };
}

function cut(bytes: Buffer, at: readonly number[]): readonly Buffer[] {
  const places = [0, ...at.map((share) => share % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

const bodies = fc
  .oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 200, maxLength: 300 }))
  .map((bytes) => Buffer.from(bytes));
const messages = fc.array(fc.tuple(fc.constantFrom("H", COPY_DATA, COPY_DATA, COPY_DATA, "N", "c", "C"), bodies), { maxLength: 40 });

test("rows come whole and in order, wherever the socket's chunks end; other messages too", () => {
  fc.assert(
    fc.property(messages, fc.array(fc.nat()), (sent, cuts) => {
      const rows: Buffer[] = [];
      const all = Buffer.concat([...sent.map(([type, body]) => message(type, body)), READY]);
      const { passed } = copied(cut(all, cuts), (row) => rows.push(row) > 0);
      const others = sent.filter(([type]) => type !== COPY_DATA).map(([type, body]) => message(type, body));
      expect(rows).toEqual(sent.filter(([type]) => type === COPY_DATA).map(([, body]) => body));
      expect(passed.filter(({ length }) => length > 0)).toEqual([...others, READY]);
    }),
  );
});

test("a row that is longer than any chunk comes whole", () => {
  const wide = Buffer.alloc(1_000_000, "wide ");
  const rows: Buffer[] = [];
  const all = Buffer.concat([message(COPY_DATA, wide), message(COPY_DATA, Buffer.from("next")), READY]);
  copied(
    cut(
      all,
      Array.from({ length: 20 }, (_, index) => 3 + index * 65_536),
    ),
    (row) => rows.push(row) > 0,
  );
  expect(rows.map((row) => row.length)).toEqual([wide.length, 4]);
  expect(rows[0]?.equals(wide)).toBe(true);
});

test("behind the answer's end the listener has the socket for itself again, halves of messages among it", () => {
  const notice = message("N", Buffer.from("terminating"));
  const half = Buffer.concat([READY, notice.subarray(0, 7)]);
  const row = message(COPY_DATA, Buffer.from("of the next query"));
  const { passed } = copied([half, notice.subarray(7), row], () => expect.unreachable());
  expect(Buffer.concat(passed)).toEqual(Buffer.concat([READY, notice, row]));
  expect(passed).toHaveLength(3);
});

test("a taker that wants no more, or throws, is not called again, and the copy ends with its word", async () => {
  const rows = ["a", "b", "c"].map((text) => message(COPY_DATA, Buffer.from(text)));
  const taken: string[] = [];
  const refusing = copied(rows, (row) => taken.push(row.toString()) < 2);
  await expect(refusing.copy.ended).resolves.toBe(false);
  const failing = copied(rows, (row) => {
    taken.push(row.toString());
    throw new Error("unreadable");
  });
  await expect(failing.copy.ended).rejects.toThrow("unreadable");
  expect(taken).toEqual(["a", "b", "a"]);
});
