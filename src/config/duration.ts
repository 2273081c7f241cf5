// Durations as people write them: "200ms", "1s", "7d".

const MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export const DURATION_PATTERN = /^(\d+(?:\.\d+)?)\s?(ms|s|m|h|d)$/;

/** A duration in whole milliseconds, null when the text is none: a number and ms, s, m, h or d. */
export function parseDuration(text: string): number | null {
  const [, number, unit] = DURATION_PATTERN.exec(text) ?? [];
  if (number === undefined || unit === undefined) return null;
  const value = Number(number) * (MS[unit] ?? Number.NaN);
  return Number.isSafeInteger(value) ? value : null;
}
