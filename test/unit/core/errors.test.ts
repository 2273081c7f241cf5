// The catalogue of errors is documentation: it is held against the page that operators read and against every place in
// src that makes an error. The places are found in the syntax, without types, so they have to be written plainly.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { errors, type ErrorCode, type ErrorEntry } from "../../../src/core/error-catalogue.ts";
import { TailraceError } from "../../../src/core/errors.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const catalogue: Readonly<Record<string, ErrorEntry>> = errors;
const codes = Object.keys(errors) as readonly ErrorCode[];

test("docs/errors.md has every code with its text, remedy and retry, and no other", async () => {
  await expect(errorsPage(), "out of date; to write it again: npx vitest run test/unit/core/errors.test.ts -u").toMatchFileSnapshot(
    path.join(root, "docs/errors.md"),
  );
});

test("no page names a code that is not in the catalogue", () => {
  const pages = [
    "README.md",
    "CONTRIBUTING.md",
    ...readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" }).map(inDocs),
  ];
  const families = new Set(codes.map((code) => code.split("_")[0]));
  const unknown = pages.filter(isMarkdown).flatMap((page) => {
    const named = readFileSync(path.join(root, page), "utf8").matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g);
    // Names of Kafka's errors and of environment variables look the same: what begins like one of our codes must be one.
    return [...named]
      .map(([, name = ""]) => name)
      .filter((name) => families.has(name.split("_")[0]) && !OF_OTHERS.test(name) && !(name in errors));
  });
  expect(unknown).toEqual([]);
});

/** Settings, and names of Kafka's errors, that begin like a code of ours. */
const OF_OTHERS = /^(LOG_LEVEL|QUICKSTART_URL|REGISTRY_URL|REGISTRY_PASSWORD|WAREHOUSE_URL|NOT_(?!PRIMARY).+)$/;

test("every code is made somewhere in src", () => {
  const made = new Set(sites.flatMap(({ codes: ofSite }) => ofSite));
  expect(codes.filter((code) => !made.has(code))).toEqual([]);
});

test("every place that makes an error names its code and its parameters in full", () => {
  expect(sites.length).toBeGreaterThan(100);
  expect(sites.filter(({ codes: ofSite, parameters }) => ofSite.length === 0 || parameters === null).map(({ at }) => at)).toEqual([]);
});

test("every {parameter} of an error's text and remedy is given wherever it is made, and nothing else is", () => {
  const wrong = sites.flatMap(({ at, codes: ofSite, parameters }) =>
    ofSite.flatMap((code) => {
      const entry = catalogue[code];
      if (entry === undefined || parameters === null) return [];
      const wanted = placeholders(entry);
      const given = parameters.map(({ name }) => name);
      return [
        ...wanted.filter((name) => !given.includes(name)).map((name) => `${at} ${code} lacks ${name}`),
        ...given.filter((name) => !wanted.includes(name)).map((name) => `${at} ${code} does not use ${name}`),
      ];
    }),
  );
  expect(wrong).toEqual([]);
});

test("no parameter is made of what may hold a secret", () => {
  const secret = /^(reveal|url|uri|password|passwd|username|credentials?|secrets?|token|authorization|auth|connectionString)$/i;
  const found = sites.flatMap(({ at, parameters }) =>
    (parameters ?? [])
      .filter(({ name, words }) => secret.test(name) || words.some((word) => secret.test(word)))
      .map(({ name }) => `${at} ${name}`),
  );
  expect(found).toEqual([]);
});

test("what happened and the remedy begin small and end without a full stop: they stand in longer lines", () => {
  for (const [code, { what, remedy }] of Object.entries(catalogue)) {
    for (const text of [what, remedy]) {
      expect(text, code).not.toMatch(/\.$/);
      expect(text, code).toMatch(/^([a-z{(]|[A-Z]+\b|PostgreSQL|Tailrace|DuckDB|Kafka)/);
    }
  }
});

test("an error fills its text in, and keeps the place that it already names", () => {
  const error = new TailraceError("TABLE_MISSING", { table: "public.orders" }, { place: { table: "public.orders" } });
  expect(error.message).toBe("table public.orders does not exist");
  expect(error.at({ connector: "shop", table: "other" }).place).toEqual({ connector: "shop", table: "public.orders" });
  expect(error.at({ connector: "shop" })).toBeInstanceOf(TailraceError);
  const said = error.saidOf("partition 1").at({ connector: "shop" });
  expect(said).toMatchObject({ message: "table public.orders does not exist (partition 1)", code: error.code, remedy: error.remedy });
});

type Parameter = { readonly name: string; /** Every identifier in the value's expression. */ readonly words: readonly string[] };
/** A place where an error is made. `codes`: empty when they can't be read; `parameters`: null when they can't. */
type Site = { readonly at: string; readonly codes: readonly string[]; readonly parameters: readonly Parameter[] | null };

const sites: readonly Site[] = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .flatMap(sitesIn);

function sitesIn(name: string): readonly Site[] {
  const source = ts.createSourceFile(name, readFileSync(path.join(root, "src", name), "utf8"), ts.ScriptTarget.Latest, true);
  const found: Site[] = [];
  const visit = (node: ts.Node): void => {
    const made = argumentsOf(node);
    if (made !== null) {
      const [code, parameters] = made;
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      found.push({
        at: `src/${name}:${line + 1}`,
        codes: code === undefined ? [] : codesOf(code),
        parameters: parameters === undefined ? [] : parametersOf(parameters),
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Of `new TailraceError(…)`, and of `super(…)` in a class that extends it. */
function argumentsOf(node: ts.Node): readonly ts.Expression[] | null {
  if (ts.isNewExpression(node)) return node.expression.getText() === "TailraceError" ? (node.arguments ?? []) : null;
  if (!ts.isCallExpression(node) || node.expression.kind !== ts.SyntaxKind.SuperKeyword) return null;
  const owner = ts.findAncestor(node, ts.isClassDeclaration);
  return owner?.heritageClauses?.some((clause) => clause.getText() === "extends TailraceError") === true ? node.arguments : null;
}

/** A code, or one of two by a condition. */
function codesOf(code: ts.Expression): readonly string[] {
  if (ts.isStringLiteral(code)) return [code.text];
  if (!ts.isConditionalExpression(code)) return [];
  const [whenTrue, whenFalse] = [codesOf(code.whenTrue), codesOf(code.whenFalse)];
  return whenTrue.length === 0 || whenFalse.length === 0 ? [] : [...whenTrue, ...whenFalse];
}

function parametersOf(object: ts.Expression): readonly Parameter[] | null {
  if (!ts.isObjectLiteralExpression(object)) return null;
  const parameters: Parameter[] = [];
  for (const property of object.properties) {
    if (ts.isShorthandPropertyAssignment(property)) parameters.push({ name: property.name.text, words: [property.name.text] });
    else if (ts.isPropertyAssignment(property) && ts.isIdentifier(property.name))
      parameters.push({ name: property.name.text, words: identifiersIn(property.initializer) });
    else return null;
  }
  return parameters;
}

/** What stands in withoutSecrets(…) is clean. */
function identifiersIn(node: ts.Node): readonly string[] {
  if (ts.isCallExpression(node) && node.expression.getText() === "withoutSecrets") return [];
  const words: string[] = ts.isIdentifier(node) ? [node.text] : [];
  ts.forEachChild(node, (child) => void words.push(...identifiersIn(child)));
  return words;
}

function placeholders({ what, remedy }: ErrorEntry): readonly string[] {
  return [...new Set([...`${what} ${remedy}`.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name))];
}

/** The page: the catalogue in its order, under the headings that its comments are. */
function errorsPage(): string {
  const headings = headingsByCode();
  const entries = Object.entries(catalogue).map(([code, { what, remedy, retry }]) => {
    const heading = headings.get(code);
    return `${heading === undefined ? "" : `## ${heading}\n\n`}### ${code}\n> ${markdown(what)}\n\n**${retry}** · ${markdown(remedy)}\n`;
  });
  return `${PREFACE}\n${entries.join("\n")}`;
}

const PREFACE = `# Errors

Written from \`src/core/error-catalogue.ts\` by \`npx vitest run test/unit/core/errors.test.ts -u\`; do not edit it here.

Every error that an operator can meet has a code, a text, a remedy, and one of three answers to the question who moves next:

- **auto**: Tailrace tries again by itself, with a growing pause of at most 10 s, for ever. The connector is \`waiting\`.
- **operator**: the connector is \`stopped\`, its neighbours go on. Mend the cause, then start the service again.
- **never**: the same input fails again. A row with such an error is a dead letter and the rest goes on; a command ends.

The code stands in the log (\`error.code\`), in \`tailrace status\`, in \`/readyz\`, in \`tailrace_errors_total{code}\` and in dead
letters. Below each code: what is said, with names in braces filled in; then who moves next, and the remedy.
`;

/** As it is printed: outside of code spans `<` would begin HTML and `*` emphasis. */
function markdown(text: string): string {
  return text.replace(/(`[^`]*`)|([<*])/g, (_, code: string | undefined, mark: string) => code ?? `\\${mark}`);
}

/** By the first code under it: the comments between the catalogue's entries. */
function headingsByCode(): ReadonlyMap<string, string> {
  const headings = new Map<string, string>();
  const text = readFileSync(path.join(root, "src/core/error-catalogue.ts"), "utf8");
  const start = text.indexOf("export const errors = {");
  for (const [, heading = "", code = ""] of text.slice(start).matchAll(/^ {2}\/\/ (.+)\n {2}([A-Z_]+): \{/gm))
    headings.set(code, heading.charAt(0).toUpperCase() + heading.slice(1));
  return headings;
}

function inDocs(name: string): string {
  return path.join("docs", name);
}

function isMarkdown(name: string): boolean {
  return name.endsWith(".md");
}
