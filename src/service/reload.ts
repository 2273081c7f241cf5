// What a configuration that was read again changes, connector by connector.
import type { LoadedConfig, SinkConfig, SourceConfig } from "../config/config.ts";
import { Secret } from "../config/secret.ts";

/** Names, in the order of the configuration; `removed` in that of the former one. */
export type Changes = {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly unchanged: readonly string[];
  /** What `kind: service` says is taken up by a restart only. */
  readonly serviceChanged: boolean;
};

export function compareConfigs(before: LoadedConfig, after: LoadedConfig): Changes {
  const [was, is] = [connectorsOf(before), connectorsOf(after)];
  const names = (keep: (name: string) => boolean): readonly string[] => [...is.keys()].filter(keep);
  const isSame = (name: string): boolean => sameValue(was.get(name), is.get(name));
  return {
    added: names((name) => !was.has(name)),
    changed: names((name) => was.has(name) && !isSame(name)),
    removed: [...was.keys()].filter((name) => !is.has(name)),
    unchanged: names((name) => was.has(name) && isSame(name)),
    serviceChanged: !sameValue(before.service, after.service),
  };
}

/** A sink is also what it knows of its source: where the events are. */
function connectorsOf({ sources, sinks }: LoadedConfig): ReadonlyMap<string, unknown> {
  const prefixOf = (sink: SinkConfig): string | undefined => sources.find(({ name }) => name === sink.source)?.topics.prefix;
  return new Map<string, unknown>([
    ...sources.map((source: SourceConfig) => [source.name, source] as const),
    ...sinks.map((sink) => [sink.name, { sink, prefix: prefixOf(sink) }] as const),
  ]);
}

/** Secrets are the same when they give the same now: one that is written otherwise and means the same restarts nothing. */
function sameValue(a: unknown, b: unknown): boolean {
  if (a instanceof Secret && b instanceof Secret) return revealed(a) === revealed(b);
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  for (const key of keys) if (!sameValue((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key])) return false;
  return true;
}

/** null: it can't be read now. The former one may name a file that is gone: then it is another. */
function revealed(secret: Secret): string | null {
  try {
    return secret.reveal();
  } catch {
    return null;
  }
}
