// Text that may not be UTF-8: a PostgreSQL database in SQL_ASCII sends whatever bytes it was given.
import { isUtf8 } from "node:buffer";

/** Bytes up to which a loop beats a native call. */
const SHORT = 64;

/** null when the bytes are UTF-8; otherwise their text with U+FFFD where they are not, as TextDecoder reads them. */
export function mendedUtf8(bytes: Buffer, start: number, end: number): Buffer | null {
  if (end - start <= SHORT) {
    let all = 0;
    for (let at = start; at < end; at++) all |= bytes[at]!;
    if (all < 0x80) return null;
  }
  return isUtf8(bytes.subarray(start, end)) ? null : Buffer.from(bytes.toString("utf8", start, end));
}
