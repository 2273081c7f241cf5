// The rules of section 8, each taken out: out of the real modules by other source text, out of the model's runner by its
// switches. For each of them there must be a history that ends with a wrong target.
import { readFileSync } from "node:fs";
import path from "node:path";
import { compileFunction } from "node:vm";
import ts from "typescript";
import { allRules, type Modules, type Rules } from "./snapshot-model-rules.ts";

const FOLDER = path.resolve(import.meta.dirname, "../../../src/source");

type File = "window.ts" | "snapshot-progress.ts";

/** Stands exactly once in its file. */
type Edit = { readonly file: File; readonly from: string; readonly to: string };

export type Mutant = { readonly rule: string; readonly without: string } & ({ readonly edit: Edit } | { readonly rules: Partial<Rules> });

const inWindow = (from: string, to: string): { edit: Edit } => ({ edit: { file: "window.ts", from, to } });
const inProgress = (from: string, to: string): { edit: Edit } => ({ edit: { file: "snapshot-progress.ts", from, to } });

export const mutants: readonly Mutant[] = [
  { rule: "R-window", without: "judging by visibility, but by LSN", rules: { judgesByVisibility: false } },
  {
    rule: "R-window",
    without: "the list of what is in progress",
    ...inWindow("(wide < visibility.xmax && !visibility.inProgress.has(wide))", "wide < visibility.xmax"),
  },
  {
    rule: "R-window",
    without: "the end of the snapshot",
    ...inWindow("(wide < visibility.xmax && !visibility.inProgress.has(wide))", "!visibility.inProgress.has(wide)"),
  },
  {
    rule: "R-window",
    without: "dropping touched keys",
    ...inWindow('if (unsent === null) return "drop";', 'if (unsent === null) return "emit";'),
  },
  {
    rule: "R-window",
    without: "TRUNCATE",
    ...inWindow('if (!sees(visibility, xid)) return "drop";', 'if (!sees(visibility, xid)) return "emit";'),
  },
  { rule: "R-window", without: "the old key of a key change", rules: { touchesOldKey: false } },
  { rule: "R-window", without: "the new key of a key change", rules: { touchesNewKey: false } },
  { rule: "R-window", without: "nonces that no other attempt has", rules: { uniqueNonces: false } },
  {
    rule: "R-window",
    without: "widening to 64 bits",
    ...inWindow("return near + ((xid - (near % XIDS)) | 0);", "return near - (near % XIDS) + xid;"),
  },
  { rule: "R-window-start", without: "the wait before the opening mark", rules: { firstWait: false } },
  { rule: "R-window-start", without: "the wait behind the opening mark", rules: { secondWait: false } },
  { rule: "R-window-start", without: "both waits", rules: { firstWait: false, secondWait: false } },
  {
    rule: "R-window-start",
    without: "keeping what chunks that are being read don't see",
    ...inWindow("const xmin = visibility?.xmin ?? xminAtBegin;", "const xmin = visibility === null ? xminAtBegin : floor;"),
  },
  {
    rule: "R-window-start",
    without: "counting a chunk whose snapshot is not known",
    ...inWindow("const xmin = visibility?.xmin ?? xminAtBegin;", "const xmin = visibility === null ? floor : visibility.xmin;"),
  },
  {
    rule: "R-window-start",
    without: "keeping everything before the first snapshot",
    ...inWindow("if (xmin === null) return; // begun", "if (xmin === null) continue; // begun"),
  },
  {
    rule: "R-window-start",
    without: "keeping what chunks to come don't see",
    ...inWindow("let floor = this.#xmin;", "let floor = this.#chunks.size === 0 && this.#xmin !== null ? this.#xmin + 1000 : null;"),
  },
  {
    rule: "R-window-toast",
    without: "folding (a touched row is dropped)",
    ...inWindow("rows.push(unsent.row);", 'return "drop";'),
  },
  {
    rule: "R-window-toast",
    without: "folding (a touched row is emitted)",
    ...inWindow("rows.push(unsent.row);", "kept = null;"),
  },
  {
    rule: "R-window-toast",
    without: "the end of inheritance by deletes and complete rows",
    ...inWindow(
      'if (unsent === null) return "drop";',
      'if (unsent === null && touch.next === null) return "drop"; if (unsent === null) continue;',
    ),
  },
  {
    rule: "R-window-toast",
    without: "columns of all events",
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
    rule: "R-window-toast",
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
  { rule: "R-sweep", without: "keeping a complete snapshot until its end is said", rules: { keepsUnsaid: false } },
  { rule: "R-sweep", without: "discarding progress after a publication change", rules: { publicationChangeDiscards: false } },
];

export function rulesOf(mutant: Mutant): Rules {
  return "rules" in mutant ? { ...allRules, ...mutant.rules } : allRules;
}

/** The real modules, with the mutant's edit. */
export function modulesOf(mutant: Mutant): Modules {
  const edit = "edit" in mutant ? mutant.edit : null;
  const window = load("window.ts", edit, {});
  return { ...window, ...load("snapshot-progress.ts", edit, { "./window.ts": window }) } as Modules;
}

function load(file: File, edit: Edit | null, imports: Readonly<Record<string, object>>): object {
  let text = readFileSync(path.join(FOLDER, file), "utf8");
  if (edit?.file === file) {
    const parts = text.split(edit.from);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${edit.from}`);
    text = parts.join(edit.to);
  }
  const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: false };
  const { outputText } = ts.transpileModule(text, { compilerOptions: options });
  const exports = {};
  compileFunction(outputText, ["exports", "require"])(exports, (name: string) => imports[name]);
  return exports;
}
