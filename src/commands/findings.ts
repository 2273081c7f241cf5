// What `check` finds: a line each, for a person or as JSON.
import { TailraceError, reasonOf } from "../core/errors.ts";
import { takesColours } from "./report.ts";

export type Finding = {
  /** `log`, `registry`, `source shop`, `sink lake`. */
  readonly of: string;
  /** `note`: good to know. `warning`: works, and may surprise. `problem`: does not work. */
  readonly kind: "ok" | "note" | "warning" | "problem";
  readonly message: string;
  readonly code?: string;
  readonly fix?: string;
  /** It does not answer, rather than answer something wrong. */
  readonly silent?: boolean;
};

/** Takes a finding as soon as it is made. */
export type Found = (finding: Finding) => void;

/** One look at one thing may take this, ms. */
const LOOK_MS = 15_000;
/** The codes of what does not answer. */
const SILENT = /_(UNREACHABLE|LOGIN|LOCKED)$/;

/** Runs a look with its bound. What it throws becomes a problem; what it returns is said as good, unless it has found a problem. */
export async function look(of: string, found: Found, run: (signal: AbortSignal, found: Found) => Promise<string>): Promise<void> {
  const signal = AbortSignal.timeout(LOOK_MS);
  let problems = 0;
  const watched: Found = (finding) => {
    if (finding.kind === "problem") problems += 1;
    found(finding);
  };
  try {
    const message = await run(signal, watched);
    if (problems === 0) found({ of, kind: "ok", message });
  } catch (cause) {
    const late = new TailraceError("UNEXPECTED", { reason: `no answer within ${LOOK_MS / 1_000} s (${reasonOf(cause)})` });
    found(signal.aborted ? { ...problem(of, late), silent: true } : problem(of, TailraceError.from(cause)));
  }
}

export function problem(of: string, error: TailraceError): Finding {
  return { of, kind: "problem", message: error.message, code: error.code, fix: error.remedy, silent: SILENT.test(error.code) };
}

/** The finding for a person, with its line's end. */
export function render({ of, kind, message, code, fix }: Finding): string {
  return `${mark(kind)} ${of}: ${message}${code === undefined ? "" : ` [${code}]`}\n${fix === undefined ? "" : `     fix: ${fix}\n`}`;
}

function mark(kind: Finding["kind"]): string {
  switch (kind) {
    case "ok":
      return paint("ok  ", 32);
    case "note":
      return "note";
    case "warning":
      return paint("warn", 33);
    case "problem":
      return paint("FAIL", 31);
  }
}

function paint(text: string, colour: number): string {
  return takesColours(process.stdout) ? `\x1b[${colour}m${text}\x1b[0m` : text;
}
