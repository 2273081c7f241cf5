// Pairs of texts as a JSON object, into COPY's buffer.
import type { ByteWriter } from "../../core/byte-writer.ts";
import type { MapWriter } from "../../core/staged-rows.ts";
import { mendedUtf8 } from "../utf8.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PLAIN = 0x20;

/** Writes what stands between the braces. One is reused for all values: begin() comes first. */
export class JsonObject implements MapWriter {
  readonly #out: ByteWriter;
  #isFirst = true;
  readonly keys: MapWriter["keys"] = { text: (bytes, start, end) => this.#key(bytes, start, end) };
  readonly values: MapWriter["values"] = {
    text: (bytes, start, end) => this.#quoted(bytes, start, end),
    null: () => this.#plain("null"),
  };

  constructor(out: ByteWriter) {
    this.#out = out;
  }

  begin(): void {
    this.#isFirst = true;
  }

  #key(bytes: Buffer, start: number, end: number): void {
    if (!this.#isFirst) this.#plain(",");
    this.#isFirst = false;
    this.#quoted(bytes, start, end);
    this.#plain(":");
  }

  #quoted(bytes: Buffer, start: number, end: number): void {
    writeJsonString(bytes, start, end, this.#out);
  }

  #plain(ascii: string): void {
    writeJsonWord(ascii, this.#out);
  }
}

/** The text in quotes. */
export function writeJsonString(bytes: Buffer, start: number, end: number, out: ByteWriter): void {
  const mended = mendedUtf8(bytes, start, end);
  if (mended === null) writeEscaped(bytes, start, end, out);
  else writeEscaped(mended, 0, mended.length, out);
}

function writeEscaped(bytes: Buffer, start: number, end: number, out: ByteWriter): void {
  out.byte(QUOTE);
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte < FIRST_PLAIN) writeJsonWord(`\\u${byte.toString(16).padStart(4, "0")}`, out);
    else {
      if (byte === QUOTE || byte === BACKSLASH) out.byte(BACKSLASH);
      out.byte(byte);
    }
  }
  out.byte(QUOTE);
}

export function writeJsonWord(ascii: string, out: ByteWriter): void {
  for (let at = 0; at < ascii.length; at++) out.byte(ascii.charCodeAt(at));
}
