// Sizes as 512MiB or 10GiB: whole numbers of bytes, in powers of 1024.

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };

export const SIZE_PATTERN = /^\d{1,6}(?:B|KiB|MiB|GiB|TiB)$/;

/** Bytes; null for a text that is no size. */
export function parseSize(text: string): number | null {
  if (!SIZE_PATTERN.test(text)) return null;
  const unit = text.replace(/^\d+/, "");
  return Number.parseInt(text, 10) * (UNITS[unit] ?? 1);
}
