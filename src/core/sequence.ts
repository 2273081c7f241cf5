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
  if (epoch < 0 || epoch > 0xffff || ordinal < 0 || ordinal > 0xffff_ffff_ffff) throw new RangeError("sequence out of range");
  return `${hex(epoch, 4)}-${hex(commitLsn, 16)}-${hex(ordinal, ORDINAL_DIGITS)}`;
}

/** formatSequence for many events of a transaction, whose common part is made once. One is reused for all. */
export class SequenceFormat {
  #epoch = -1;
  #commitLsn = -1n;
  #common = "";

  text(epoch: number, commitLsn: bigint, ordinal: number): string {
    if (epoch !== this.#epoch || commitLsn !== this.#commitLsn) {
      this.#common = formatSequence({ epoch, commitLsn: toLsn(commitLsn), ordinal: 0 }).slice(0, -ORDINAL_DIGITS);
      this.#epoch = epoch;
      this.#commitLsn = commitLsn;
    }
    return this.#common + hex(ordinal, ORDINAL_DIGITS);
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
