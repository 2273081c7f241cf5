// What array_out and record_out have in common: parts between delimiters, quoted where they have to be, with backslashes before what would end them.

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;

/** How many parts stand in `bytes[start, end)`; nothing at all is one. */
export function countParts(bytes: Buffer, start: number, end: number, delimiter: number): number {
  let count = 1;
  let isQuoted = false;
  for (let at = start; at < end; at++) {
    const character = bytes[at];
    if (character === BACKSLASH) at++;
    else if (character === QUOTE) isQuoted = !isQuoted;
    else if (character === delimiter && !isQuoted) count++;
  }
  return count;
}
