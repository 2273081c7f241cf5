// The rules of section 8, each taken out: of the real modules by other source text, of the model's runner by its switches.
// For each of them there must be a history that ends with a wrong target; where there can't be one, the reason is named.
import { readFileSync } from "node:fs";
import path from "node:path";
import { compileFunction } from "node:vm";
import ts from "typescript";
import { allRules, type Modules, type Rules } from "./snapshot-model-rules.ts";
import { command, type History } from "./snapshot-model.ts";

const FOLDER = path.resolve(import.meta.dirname, "../../../src");

type File = "postgres/visibility.ts" | "source/window.ts" | "source/snapshot-progress.ts";

/** `from` stands exactly once in its file. */
type Edit = { readonly file: File; readonly from: string; readonly to: string };

export type Mutant = {
  readonly rule: string;
  readonly without: string;
  /** A history that goes wrong, where random ones find none soon. */
  readonly history?: History;
  /** Why none does. */
  readonly harmless?: string;
} & ({ readonly edit: Edit } | { readonly rules: Partial<Rules> });

const inVisibility = (from: string, to: string): { edit: Edit } => ({ edit: { file: "postgres/visibility.ts", from, to } });
const inWindow = (from: string, to: string): { edit: Edit } => ({ edit: { file: "source/window.ts", from, to } });
const inProgress = (from: string, to: string): { edit: Edit } => ({ edit: { file: "source/snapshot-progress.ts", from, to } });

/** Key 0 is deleted while there is no slot; the new snapshot is complete; key 1 becomes key 2, its TOASTed columns unsent; a crash before the end was said. */
const unsaid: History = {
  firstXid: 3 * 2 ** 32 - 1,
  rows: 0b11,
  settled: true,
  advances: true,
  commands: [
    ...[command("crash"), command("dropSlot"), command("write", 0, 0, 0), command("commit"), command("connect")],
    ...[command("poll"), command("markOpening"), command("markOpening"), command("poll")],
    ...[...Array<typeof command>(24)].map(() => command("read", 0, 2, 15)),
    ...[command("catchUp"), command("flush"), command("write", 0, 2, 11), command("commit"), command("catchUp"), command("flush")],
    ...[command("writeState"), command("stateWritten"), command("crash")],
  ],
};

export const mutants: readonly Mutant[] = [
  { rule: "R-window", without: "judging by visibility, but by LSN", rules: { judgesByVisibility: false } },
  {
    rule: "R-window",
    without: "the list of what is in progress",
    ...inVisibility("(wide < visibility.xmax && !visibility.inProgress.has(wide))", "wide < visibility.xmax"),
  },
  {
    rule: "R-window",
    without: "the end of the snapshot",
    ...inVisibility("(wide < visibility.xmax && !visibility.inProgress.has(wide))", "!visibility.inProgress.has(wide)"),
  },
  {
    rule: "R-window",
    without: "widening to 64 bits",
    ...inVisibility("return near + ((xid - (near % XIDS)) | 0);", "return near - (near % XIDS) + xid;"),
  },
  {
    rule: "R-window",
    without: "dropping touched keys",
    ...inWindow('if (unsent === null) return "drop";', 'if (unsent === null) return "emit";'),
  },
  // Of a TRUNCATE alone PostgreSQL's own lock would keep chunks: the model's does not wait for them.
  {
    rule: "R-window",
    without: "TRUNCATE",
    ...inWindow('if (!sees(visibility, xid)) return "drop";', 'if (!sees(visibility, xid)) return "emit";'),
  },
  { rule: "R-window", without: "the old key of a key change", rules: { touchesOldKey: false } },
  {
    rule: "R-window",
    without: "the new key of a key change",
    rules: { touchesNewKey: false },
    harmless: "a row that a chunk has read under the new key had to go first, which touched that key",
  },
  { rule: "R-window", without: "nonces that no other attempt has", rules: { uniqueNonces: false } },
  { rule: "R-window-start", without: "the wait before the opening mark", rules: { firstWait: false } },
  { rule: "R-window-start", without: "the wait behind the opening mark", rules: { secondWait: false } },
  { rule: "R-window-start", without: "both waits", rules: { firstWait: false, secondWait: false } },
  { rule: "R-window-start", without: "waiting for a fresh id, but for a snapshot's xmax", rules: { waitsForFreshXid: false } },
  {
    rule: "R-window-start",
    without: "keeping what chunks that are being read don't see",
    ...inWindow("const sight = visibility ?? newestAtBegin;", "const sight = visibility === null ? newestAtBegin : this.#newest;"),
  },
  {
    rule: "R-window-start",
    without: "counting a chunk whose snapshot is not known",
    ...inWindow("const sight = visibility ?? newestAtBegin;", "const sight = visibility ?? this.#newest;"),
  },
  {
    rule: "R-window-start",
    without: "keeping everything before the first snapshot",
    ...inWindow("if (sight === null) return; // begun", "if (sight === null) continue; // begun"),
  },
  {
    rule: "R-window-start",
    without: "keeping what chunks to come don't see",
    ...inWindow(
      "let oldest = this.#newest;",
      "const all = this.#newest; let oldest = all !== null && this.#chunks.size === 0 ? { xmin: all.xmax + 1000, xmax: all.xmax + 1000, inProgress: new Set() } : null;",
    ),
  },
  {
    rule: "R-window-start",
    without: "the order of snapshots",
    ...inWindow("return a.xmax === b.xmax ? a.inProgress.size < b.inProgress.size : a.xmax > b.xmax;", "return a.xmin >= b.xmin;"),
  },
  {
    rule: "R-window-start",
    without: "the order of snapshots with one end",
    ...inWindow("a.inProgress.size < b.inProgress.size", "a.inProgress.size > b.inProgress.size"),
  },
  { rule: "R-window-toast", without: "folding: the row is dropped", ...inWindow("rows.push(unsent.row);", 'return "drop";') },
  { rule: "R-window-toast", without: "folding: the row is emitted", ...inWindow("rows.push(unsent.row);", "kept = null;") },
  {
    rule: "R-window-toast",
    without: "the end of inheritance",
    ...inWindow('if (unsent === null) return "drop";', 'if (unsent === null) { if (touch.next === null) return "drop"; continue; }'),
  },
  {
    rule: "R-window-toast",
    without: "the columns that earlier events sent",
    ...inWindow("kept.filter((column) => unsent.columns.includes(column))", "unsent.columns"),
  },
  { rule: "R-window-toast", without: "re-reads", rules: { rereads: false } },
  {
    rule: "R-window-toast",
    without: "reading again until the change is seen",
    ...inProgress("queued.xids.filter((xid) => !sees(visibility, xid))", "[]"),
  },
  { rule: "R-window-toast", without: "queueing what is delivered again", rules: { queuesRedelivered: false } },
  { rule: "R-window-toast", without: "the queue in the state", rules: { queueIsInState: false } },
  {
    rule: "R-sweep",
    without: "waiting for queued keys",
    ...inProgress("this.#todo.length === 0 && this.#rereads.size === 0", "this.#todo.length === 0"),
  },
  { rule: "R-sweep", without: "the sweep", rules: { sweeps: false } },
  {
    rule: "R-sweep",
    without: "the opening of the first durable chunk",
    ...inProgress("this.#opening ??= opening;", "this.#opening = opening;"),
  },
  { rule: "R-sweep", without: "an opening mark, but by the first chunk's", rules: { opensByMark: false } },
  { rule: "R-sweep", without: "keeping a complete snapshot until its end is said", rules: { keepsUnsaid: false }, history: unsaid },
  { rule: "R-sweep", without: "discarding progress after a publication change", rules: { publicationChangeDiscards: false } },
];

export function rulesOf(mutant: Mutant): Rules {
  return "rules" in mutant ? { ...allRules, ...mutant.rules } : allRules;
}

/** The real modules, with the mutant's edit. */
export function modulesOf(mutant: Mutant): Modules {
  const edit = "edit" in mutant ? mutant.edit : null;
  const visibility = load("postgres/visibility.ts", edit, {});
  const imports = { "../postgres/visibility.ts": visibility };
  return { ...load("source/window.ts", edit, imports), ...load("source/snapshot-progress.ts", edit, imports) } as Modules;
}

function load(file: File, edit: Edit | null, imports: Readonly<Record<string, object>>): object {
  let text = readFileSync(path.join(FOLDER, file), "utf8");
  if (edit?.file === file) {
    const parts = text.split(edit.from);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${edit.from}`);
    text = parts.join(edit.to);
  }
  const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023 };
  const { outputText } = ts.transpileModule(text, { compilerOptions: options });
  const exports = {};
  compileFunction(outputText, ["exports", "require"])(exports, (name: string) => imports[name]);
  return exports;
}
