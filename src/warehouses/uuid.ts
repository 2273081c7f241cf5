// The 16 bytes of a uuid's text.

export const UUID_BYTES = 16;
/** 8-4-4-4-12 hex digits. */
const TEXT_BYTES = 36;
const HYPHEN = 0x2d;

/** Writes the uuid whose text stands in [start, end), most significant byte first; false when it is none. */
export function writeUuid(text: Buffer, start: number, end: number, into: Uint8Array, at: number): boolean {
  if (end - start !== TEXT_BYTES) return false;
  let from = start;
  for (let byte = 0; byte < UUID_BYTES; byte++) {
    if ((byte === 4 || byte === 6 || byte === 8 || byte === 10) && text[from++] !== HYPHEN) return false;
    const high = digitOf(text[from++]!);
    const low = digitOf(text[from++]!);
    if ((high | low) < 0) return false;
    into[at + byte] = (high << 4) | low;
  }
  return true;
}

/** −1: it is none. */
function digitOf(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  const lower = character | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
