import { PassThrough } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CopyTap } from "../../../src/postgres/copy-tap.ts";

/** A message as the server sends it. */
function message(type: string, body: string): Buffer {
  const head = Buffer.from([type.charCodeAt(0), 0, 0, 0, 0]);
  head.writeUInt32BE(4 + Buffer.byteLength(body), 1);
  return Buffer.concat([head, Buffer.from(body)]);
}

/** What comes to whom when the chunks come one after the other. */
function tapped(chunks: readonly Buffer[]): { readonly taken: readonly string[]; readonly heard: string } {
  const stream = new PassThrough();
  const heard: Buffer[] = [];
  const taken: string[] = [];
  stream.on("data", (chunk: Buffer) => heard.push(Buffer.from(chunk)));
  new CopyTap(stream, (bytes, start, end) => taken.push(bytes.toString("latin1", start, end)));
  for (const chunk of chunks) stream.emit("data", chunk);
  return { taken, heard: Buffer.concat(heard).toString("latin1") };
}

const notice = message("N", "a notice");
const done = Buffer.concat([message("C", "COPY 2"), message("Z", "I")]);
const copied = [message("d", "one"), message("d", ""), message("d", "two".repeat(50))];

describe("a tap", () => {
  test("what follows ReadyForQuery in its chunk goes to the listeners as it came, CopyData and half a message too", () => {
    const after = Buffer.concat([message("d", "not ours"), message("Z", "T"), message("d", "cut off").subarray(0, 8)]);
    const { taken, heard } = tapped([Buffer.concat([...copied, done, after])]);
    expect(taken).toEqual(["one", "", "two".repeat(50)]);
    expect(heard).toBe(Buffer.concat([done, after]).toString("latin1"));
  });

  test("so does what follows a ReadyForQuery that two chunks have half each of, with or without its head in the first", () => {
    const after = Buffer.concat([message("d", "not ours"), message("T", "a row's")]);
    const all = Buffer.concat([...copied, done, after]);
    const ready = all.length - after.length - message("Z", "I").length;
    for (const head of [1, 4, 5]) {
      const { taken, heard } = tapped([all.subarray(0, ready + head), all.subarray(ready + head)]);
      expect(taken).toHaveLength(3);
      expect(heard).toBe(Buffer.concat([done, after]).toString("latin1"));
    }
  });

  test("after it the socket's chunks are the listeners' alone", () => {
    const next = message("d", "of the next query");
    const { taken, heard } = tapped([done, next]);
    expect(taken).toEqual([]);
    expect(heard).toBe(Buffer.concat([done, next]).toString("latin1"));
  });

  test("wherever chunks end, bodies of CopyData are taken whole and in order, and the listeners get all the rest", () => {
    const one = fc.record({ type: fc.constantFrom("d", "N", "S", "K"), body: fc.string({ unit: "binary-ascii", maxLength: 40 }) });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 12 }), fc.array(one, { maxLength: 4 }), fc.array(fc.nat(200)), (before, after, cuts) => {
        const bytesOf = (list: readonly { readonly type: string; readonly body: string }[]): Buffer =>
          Buffer.concat(list.map(({ type, body }) => message(type, body)));
        const all = Buffer.concat([bytesOf(before), done, bytesOf(after)]);
        const ends = [...new Set([...cuts.map((cut) => cut % all.length), all.length])].filter((end) => end > 0).sort((a, b) => a - b);
        const { taken, heard } = tapped(ends.map((end, index) => all.subarray(index === 0 ? 0 : ends[index - 1], end)));
        expect(taken).toEqual(before.filter(({ type }) => type === "d").map(({ body }) => body));
        const others = before.filter(({ type }) => type !== "d");
        expect(heard).toBe(Buffer.concat([bytesOf(others), done, bytesOf(after)]).toString("latin1"));
      }),
    );
  });

  test("a notice between rows is the listeners', and what stops the taking surfaces in the socket's event", () => {
    expect(tapped([Buffer.concat([message("d", "one"), notice, message("d", "two")])])).toEqual({
      taken: ["one", "two"],
      heard: notice.toString("latin1"),
    });
    const stream = new PassThrough();
    new CopyTap(stream, () => {
      throw new Error("refused");
    });
    expect(() => stream.emit("data", message("d", "one"))).toThrow("refused");
  });
});
