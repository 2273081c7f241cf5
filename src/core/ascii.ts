// Numbers as PostgreSQL prints them, digit by digit into the bytes at hand. Where nothing else is said the caller has made room.
import type { ByteWriter } from "./byte-writer.ts";

/** 0 to 9999, with zeros in front. */
export function writeFourDigits(group: number, out: ByteWriter): void {
  const { bytes } = out;
  bytes[out.position++] = 0x30 + Math.floor(group / 1000);
  bytes[out.position++] = 0x30 + (Math.floor(group / 100) % 10);
  bytes[out.position++] = 0x30 + (Math.floor(group / 10) % 10);
  bytes[out.position++] = 0x30 + (group % 10);
}

/** 0 to 99, with a zero in front. */
export function writePair(value: number, out: ByteWriter): void {
  out.bytes[out.position++] = 0x30 + Math.floor(value / 10);
  out.bytes[out.position++] = 0x30 + (value % 10);
}

/** The decimal digits of a whole number, 0 and up. */
export function writeInteger(value: number, out: ByteWriter): void {
  let size = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) size++;
  let rest = value;
  for (let at = out.position + size - 1; at >= out.position; at--) {
    out.bytes[at] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  out.position += size;
}

/** `.25`: the fraction of a second in µs, without zeros at its end; nothing for 0. */
export function writeSmallFraction(micros: number, out: ByteWriter): void {
  if (micros === 0) return;
  out.bytes[out.position++] = 0x2e;
  for (let rest = micros, unit = 100_000; rest > 0; rest %= unit, unit /= 10) out.bytes[out.position++] = 0x30 + Math.floor(rest / unit);
}

/** An unsigned 32-bit integer in hex, without zeros in front. `capital`: A to F. */
export function writeHexInteger(value: number, capital: boolean, out: ByteWriter): void {
  let shift = 28;
  while (shift > 0 && value >>> shift === 0) shift -= 4;
  for (; shift >= 0; shift -= 4) {
    const nibble = (value >>> shift) & 0xf;
    out.bytes[out.position++] = capital && nibble > 9 ? 0x37 + nibble : hexDigit(nibble);
  }
}

/** Two hex digits. */
export function writeHexByte(byte: number, out: ByteWriter): void {
  out.bytes[out.position++] = hexDigit(byte >> 4);
  out.bytes[out.position++] = hexDigit(byte & 0xf);
}

export function hexDigit(nibble: number): number {
  return nibble < 10 ? 0x30 + nibble : 0x57 + nibble;
}

/** An Avro string; makes room. */
export function writeAscii(text: string, out: ByteWriter): void {
  out.varint(text.length);
  out.ensure(text.length);
  out.position += out.bytes.write(text, out.position, "latin1");
}

/** ASCII as it is. */
export function writeWord(word: string, out: ByteWriter): void {
  out.position += out.bytes.write(word, out.position, "latin1");
}

/** −1 for what is no hex digit. */
export function hexNibble(character: number): number {
  if (character >= 0x30 && character <= 0x39) return character - 0x30;
  if (character >= 0x61 && character <= 0x66) return character - 0x57;
  if (character >= 0x41 && character <= 0x46) return character - 0x37;
  return -1;
}
