// Runs one SQL statement on a DuckDB file that a sink merges into, and prints its rows as a table. For readers without a
// DuckDB command line; any other client that opens the file for reading does as well.
//
//   npm run --silent query -- "SELECT …" [--file .tailrace/quickstart/shop.duckdb]
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DuckDBInstance } from "@duckdb/node-api";

/** A flush holds the file for some ten milliseconds at a time; longer than this, and somebody else has it. */
const WAIT_MS = 15_000;
const DEFAULT_FILE = ".tailrace/quickstart/shop.duckdb";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { file: { type: "string", default: DEFAULT_FILE } } });
const [sql, ...more] = positionals;
if (sql === undefined || more.length > 0) fail(`usage: npm run --silent query -- "SELECT …" [--file ${DEFAULT_FILE}]`, 2);
if (!existsSync(values.file)) fail(`there is no ${values.file}; the quickstart makes it with its first flush`, 1);
try {
  const result = await read(values.file, sql);
  process.stdout.write(render(result.deduplicatedColumnNames(), await result.getRows()));
} catch (error) {
  fail(error.message, 1);
}

/** The result, all of it in memory: the file is let go before anything is printed. */
async function read(file, statement) {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    let instance;
    try {
      instance = await DuckDBInstance.create(file, { access_mode: "READ_ONLY" });
    } catch (error) {
      const isHeld = error.message.includes("Could not set lock on file");
      if (!isHeld || performance.now() > deadline) throw error;
      await sleep(10 + Math.random() * 40);
      continue;
    }
    const connection = await instance.connect();
    try {
      return await connection.run(statement);
    } finally {
      connection.closeSync();
      instance.closeSync();
    }
  }
}

function render(names, rows) {
  // node-api's values print themselves as DuckDB would.
  const cells = rows.map((row) => row.map((value) => (value === null ? "" : String(value))));
  const widths = names.map((name, at) => Math.max(name.length, ...cells.map((row) => row[at].length)));
  const line = (row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at]))
      .join("  ")
      .trimEnd();
  return `${[line(names), widths.map((width) => "─".repeat(width)).join("  "), ...cells.map(line), `(${rows.length} rows)`].join("\n")}\n`;
}

function fail(message, code) {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}
