// The words of a command line: those that have a place, and the options.
import { parseArgs } from "node:util";
import { usageError } from "./report.ts";

type Options = Readonly<Record<string, "boolean" | "string">>;

export type Arguments<O extends Options> = {
  /** In the order of the usage; "" for an optional one that is not there. */
  readonly places: readonly string[];
  readonly options: { readonly [Name in keyof O]: O[Name] extends "boolean" ? boolean : string | null };
};

/**
 * Reads a command's arguments. `usage`: its line of the help. Its words in capitals have a place, those in brackets may be left
 * out, as in `pause DIR CONNECTOR [TABLE]`. Throws USAGE.
 */
export function parseArguments<const O extends Options>(usage: string, args: readonly string[], options: O): Arguments<O> {
  let parsed;
  try {
    const types = Object.fromEntries(Object.entries(options).map(([name, type]) => [name, { type }]));
    parsed = parseArgs({ args: [...args], options: types, allowPositionals: true, strict: true });
  } catch (cause) {
    throw usageError(`${cause instanceof Error ? cause.message : String(cause)} (usage: tailrace ${usage})`);
  }
  const { positionals, values } = parsed;
  const words = [...usage.matchAll(/(?<=\s)(?<!--\w+ )(\[?)([A-Z]+)\]?(?=\s|$)/g)];
  const required = words.filter(([, bracket]) => bracket === "");
  const [, , lacking] = required[positionals.length] ?? [];
  if (lacking !== undefined) throw usageError(`which ${lacking === "DIR" ? "folder" : lacking.toLowerCase()}? usage: tailrace ${usage}`);
  if (positionals.length > words.length)
    throw usageError(`too much: ${positionals.slice(words.length).join(" ")} (usage: tailrace ${usage})`);
  const read = Object.entries(options).map(([name, type]) => [name, values[name] ?? (type === "boolean" ? false : null)]);
  return {
    places: words.map((_, at) => positionals[at] ?? ""),
    options: Object.fromEntries(read) as Arguments<O>["options"],
  };
}
