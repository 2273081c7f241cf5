// One sink: from the warehouse's own checkpoint through the log to the warehouse. A run ends only when asked to or by
// an error; whoever supervises it starts another, which begins again at the checkpoint.
import { TailraceError } from "../core/errors.ts";
import { watchLag } from "./lag.ts";
import { Merging } from "./merging.ts";
import { sayLag, type SinkOptions, type SinkParts } from "./parts.ts";
import { Reading } from "./reading.ts";
import { SourceWatch } from "./source-watch.ts";
import { unlessAborted } from "./waits.ts";

/**
 * Runs until `stop` is aborted (what was read is flushed first) or an error; both leave the checkpoint true. `force`
 * ends it without that flush.
 */
export async function runSink(options: SinkOptions, parts: SinkParts, stop: AbortSignal, force: AbortSignal): Promise<void> {
  const ended = new AbortController();
  const watching = watchLag(parts.log, parts.lag, () => sayLag(parts), ended.signal);
  try {
    await readAll(options, parts, stop, force);
  } finally {
    ended.abort();
    await watching;
  }
}

async function readAll(options: SinkOptions, parts: SinkParts, stop: AbortSignal, force: AbortSignal): Promise<void> {
  parts.observer.state("waiting for the source");
  const source = new SourceWatch(parts.log, options.prefix);
  let state = await source.next(null, stop);
  if (state === null) return;
  try {
    await using merging = await unlessAborted(Merging.start(options, parts, source, stop), stop);
    if (merging === null) return;
    const reading = new Reading(options, parts, source, merging);
    while (state !== null) state = await reading.untilTopicsChange(state, stop, force);
  } catch (cause) {
    // A topic that is gone, or another one that is shorter, is the source's to replace: in a new epoch, which is waited for.
    const isLost = cause instanceof TailraceError && (cause.code === "TOPIC_LOST" || cause.code === "LOG_GAP");
    if (!isLost || !source.makesSnapshots) throw cause;
    throw new TailraceError("GAP_FOUND", { reason: cause.message }, { cause });
  }
}
