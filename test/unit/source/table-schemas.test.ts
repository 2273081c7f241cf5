import { expect, test } from "vitest";
import type { Column, ColumnType } from "../../../src/core/table.ts";
import { describeDifference } from "../../../src/source/table-schemas.ts";

type Described = Pick<Column, "name" | "type" | "keyPosition">;

function column(name: string, type: ColumnType, keyPosition = 0): Described {
  return { name, type, keyPosition };
}

const id = column("id", { kind: "int4" }, 1);
const decimal = (precision: number, scale: number): Described => column("total", { kind: "decimal", precision, scale });

test("what a table's columns have become is said column by column, in PostgreSQL's words", () => {
  const say = (before: readonly Described[], now: readonly Described[]): string =>
    describeDifference({ columns: before }, { columns: now });
  expect(say([id, decimal(10, 2)], [id, decimal(12, 4)])).toBe("total: numeric(10,2) → numeric(12,4)");
  expect(say([id, column("a", { kind: "text" })], [id, column("b", { kind: "date" })])).toBe("b: added as date; a: dropped");
  expect(say([id], [column("id", { kind: "int8" }, 1), column("n", { kind: "int2" }, 2)])).toBe(
    "id: int4 → int8; n: added as int2; key: (id) → (id, n)",
  );
  expect(say([id, column("p", { kind: "text" })], [id, column("p", { kind: "other", typeName: "pair" })])).toBe("p: text → pair");
  expect(say([id], [id])).toBe("no column differs");
});
