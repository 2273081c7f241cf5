// Dates and timestamps, from the binary form to the text that date_out and timestamp_out print with DateStyle ISO; moments in
// UTC, as the stream's session has them. The caller has made room for MOMENT_BYTES.
import type { ByteWriter } from "./byte-writer.ts";
import { writeFourDigits, writeInteger, writePair, writeSmallFraction, writeWord } from "./ascii.ts";

/** More than the longest has, a timestamp before Christ. */
export const MOMENT_BYTES = 62;

/** Days from 1970-01-01 to PostgreSQL's 2000-01-01. */
export const EPOCH_DAYS = 10_957;

const DAY_SECONDS = 86_400;
/** 0001-01-01 in days since 2000-01-01. */
const FIRST_YEAR = -730_119;
const FIRST_DATE = -0x8000_0000;
const LAST_DATE = 0x7fff_ffff;

/** Days since 2000-01-01; its extremes are ±infinity. */
export function printDate(days: number, out: ByteWriter): void {
  if (days === LAST_DATE || days === FIRST_DATE) return writeWord(days < 0 ? "-infinity" : "infinity", out);
  writeDay(days, out);
  if (isBeforeChrist(days)) writeWord(" BC", out);
}

export function isBeforeChrist(days: number): boolean {
  return days < FIRST_YEAR && days !== FIRST_DATE;
}

/** µs since 2000-01-01 in halves, `high` signed and `low` unsigned; its extremes are ±infinity. */
export function printTimestamp(high: number, low: number, hasZone: boolean, out: ByteWriter): void {
  if (isInfinite(high, low)) return writeWord(high < 0 ? "-infinity" : "infinity", out);
  // in seconds and what is left: each step is exact in a double
  const millions = Math.floor(high / 1_000_000);
  const rest = (high - millions * 1_000_000) * 0x1_0000_0000 + low;
  const seconds = millions * 0x1_0000_0000 + Math.floor(rest / 1_000_000);
  const day = Math.floor(seconds / DAY_SECONDS);
  writeDay(day, out);
  out.bytes[out.position++] = 0x20;
  printTime(seconds - day * DAY_SECONDS, rest % 1_000_000, out);
  if (hasZone) writeWord("+00", out);
  if (day < FIRST_YEAR) writeWord(" BC", out);
}

export function isInfinite(high: number, low: number): boolean {
  return (high === 0x7fff_ffff && low === 0xffff_ffff) || (high === -0x8000_0000 && low === 0);
}

/** `23:59:59.5` of the seconds and microseconds since midnight. */
export function printTime(seconds: number, micros: number, out: ByteWriter): void {
  writePair(Math.floor(seconds / 3600), out);
  out.bytes[out.position++] = 0x3a;
  writePair(Math.floor(seconds / 60) % 60, out);
  out.bytes[out.position++] = 0x3a;
  writePair(seconds % 60, out);
  writeSmallFraction(micros, out);
}

/**
 * `2026-11-21` of days since 2000-01-01, in the Gregorian calendar whenever it was; the year before 1 is 1, of those ` BC`.
 * Years are counted from March, in eras of 400 years (146,097 days), so that a leap day is the last of its year.
 */
function writeDay(days: number, out: ByteWriter): void {
  const since = days + EPOCH_DAYS + 719_468; // 0000-03-01
  const era = Math.floor(since / 146_097);
  const dayOfEra = since - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const named = year > 0 ? year : 1 - year;
  if (named > 9_999) writeInteger(named, out);
  else writeFourDigits(named, out);
  out.bytes[out.position++] = 0x2d;
  writePair(month, out);
  out.bytes[out.position++] = 0x2d;
  writePair(dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1, out);
}
