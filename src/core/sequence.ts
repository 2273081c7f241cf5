// R-sequence: an event's place in the order of its source.
import { toLsn, type Lsn } from "./lsn.ts";

/**
 * (epoch, commit_lsn, ordinal), compared in that order. `ordinal` is twice the row message's index in its transaction,
 * plus one for the create of a changed key.
 */
export type Sequence = {
  /** 1 to 65535; grows when the history of the slot is broken. */
  readonly epoch: number;
  readonly commitLsn: Lsn;
  /** 0 to 2^48 − 1. */
  readonly ordinal: number;
};

/** Length of the text form in bytes (ASCII). */
export const SEQUENCE_TEXT_BYTES = 34;

const ORDINAL_DIGITS = 12;

/** The highest ordinal that a sequence has. */
export const LAST_ORDINAL = 0xffff_ffff_ffff;

/** Name of the record header that carries a tombstone's sequence in its text form. */
export const SEQUENCE_HEADER = "tailrace.sequence";

/** Negative, 0 or positive, as Array.sort wants it. */
export function compareSequence(a: Sequence, b: Sequence): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.commitLsn !== b.commitLsn) return a.commitLsn < b.commitLsn ? -1 : 1;
  return a.ordinal - b.ordinal;
}

/** Lower-case hex of fixed width, `eeee-llllllllllllllll-oooooooooooo`: string order is the right order. */
export function formatSequence(sequence: Sequence): string {
  const { epoch, commitLsn, ordinal } = sequence;
  if (epoch < 0 || epoch > 0xffff || ordinal < 0 || ordinal > LAST_ORDINAL) throw new RangeError("sequence out of range");
  return `${hex(epoch, 4)}-${hex(commitLsn, 16)}-${hex(ordinal, ORDINAL_DIGITS)}`;
}

/**
 * A sequence in plain numbers, for whoever has many: none becomes an object, a BigInt or a text. The commit LSN in its halves,
 * unsigned 32 bits each. Epoch 0: before every event.
 */
export type SequenceParts = { epoch: number; commitHigh: number; commitLow: number; ordinal: number };

export function isBelow(a: Readonly<SequenceParts>, b: Readonly<SequenceParts>): boolean {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch;
  if (a.commitHigh !== b.commitHigh) return a.commitHigh < b.commitHigh;
  if (a.commitLow !== b.commitLow) return a.commitLow < b.commitLow;
  return a.ordinal < b.ordinal;
}

export function copyParts(from: Readonly<SequenceParts>, to: SequenceParts): void {
  to.epoch = from.epoch;
  to.commitHigh = from.commitHigh;
  to.commitLow = from.commitLow;
  to.ordinal = from.ordinal;
}

/** Their text form, as formatSequence's; "" of epoch 0. */
export function partsText(parts: Readonly<SequenceParts>): string {
  if (parts.epoch === 0) return "";
  writeSequenceText(parts, scratch);
  return scratch.toString("latin1");
}

/** The reverse of partsText; throws RangeError on any other text. */
export function partsOf(text: string): SequenceParts {
  if (text === "") return { epoch: 0, commitHigh: 0, commitLow: 0, ordinal: 0 };
  const { epoch, commitLsn, ordinal } = parseSequence(text);
  return { epoch, commitHigh: Number(commitLsn >> 32n), commitLow: Number(commitLsn & 0xffff_ffffn), ordinal };
}

/** Writes the text form: SEQUENCE_TEXT_BYTES of ASCII from the beginning of `into`. */
export function writeSequenceText({ epoch, commitHigh, commitLow, ordinal }: Readonly<SequenceParts>, into: Uint8Array): void {
  writeHex(epoch, 4, into, 0);
  into[4] = HYPHEN;
  writeHex(commitHigh, 8, into, 5);
  writeHex(commitLow, 8, into, 13);
  into[21] = HYPHEN;
  writeHex(Math.floor(ordinal / 0x1_0000_0000), 4, into, 22);
  writeHex(ordinal, 8, into, 26);
}

const scratch = Buffer.alloc(SEQUENCE_TEXT_BYTES);
const HYPHEN = 0x2d;
const HEX = Buffer.from("0123456789abcdef");

/** The lowest digits of `value`. */
function writeHex(value: number, digits: number, into: Uint8Array, at: number): void {
  let rest = value | 0; // of 2^53 and below it keeps the lowest 32 bits
  for (let to = at + digits - 1; to >= at; to--) {
    into[to] = HEX[rest & 0xf]!;
    rest >>>= 4;
  }
}

/** The reverse of formatSequence; throws RangeError on any other text. */
export function parseSequence(text: string): Sequence {
  const match = /^([0-9a-f]{4})-([0-9a-f]{16})-([0-9a-f]{12})$/.exec(text);
  if (match === null) throw new RangeError(`not a sequence: ${text}`);
  return {
    epoch: Number.parseInt(match[1] ?? "", 16),
    commitLsn: toLsn(BigInt(`0x${match[2]}`)),
    ordinal: Number.parseInt(match[3] ?? "", 16),
  };
}

function hex(value: number | bigint, width: number): string {
  return value.toString(16).padStart(width, "0");
}
