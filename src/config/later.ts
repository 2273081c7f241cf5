// The keys and values of the full design whose features this version lacks. They are refused by name, so that nobody
// believes that a setting works, and so that a misspelt one can still be recognised.

import type { Path } from "./document.ts";
import type { Kind } from "./schema.ts";

/** Paths without list positions, as in `tables.mode`. */
const KEYS: Readonly<Record<Kind, readonly string[]>> = {
  service: ["http.token", "log.embedded.retention", "log.kafka.delivery", "delivery"],
  source: ["tables.columns", "tables.mask", "wal_budget", "delivery"],
  sink: ["tables.contract", "contract", "delivery"],
};

const VALUES: Readonly<Record<Kind, Readonly<Record<string, readonly string[]>>>> = {
  service: {},
  source: {},
  sink: { consistency: ["transaction"], "tables.mode": ["append", "scd2"], "warehouse.duckdb.hold": ["always"] },
};

/** Keys that must be written because their default is a feature of a later version: the line to add, and why. */
const WRITE_OUT: Readonly<Record<string, { readonly why: string; readonly line: string }>> = {
  "sink:consistency": { why: "its default, transaction, is not in this version", line: "consistency: partition" },
};

export function isLaterKey(kind: Kind, path: Path): boolean {
  return KEYS[kind].includes(withoutPositions(path));
}

/** Keys of later versions that would stand directly under the path. */
export function laterKeysUnder(kind: Kind, path: Path): readonly string[] {
  const parent = withoutPositions(path);
  return KEYS[kind].flatMap((key) => {
    const cut = key.lastIndexOf(".");
    return (cut === -1 ? "" : key.slice(0, cut)) === parent ? [key.slice(cut + 1)] : [];
  });
}

export function isLaterValue(kind: Kind, path: Path, value: string): boolean {
  return (VALUES[kind][withoutPositions(path)] ?? []).includes(value);
}

export function mustWriteOut(kind: Kind, path: Path): { readonly why: string; readonly line: string } | null {
  return WRITE_OUT[`${kind}:${withoutPositions(path)}`] ?? null;
}

function withoutPositions(path: Path): string {
  return path.filter((step) => typeof step === "string").join(".");
}
