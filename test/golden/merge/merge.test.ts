// The SQL that each warehouse runs for each kind of plan. A difference here is a change of what happens in users'
// warehouses: read it as such. `vitest run -u` writes the files anew.
import { expect, test } from "vitest";
import { columnKinds, type ColumnType } from "../../../src/core/table.ts";
import type { Dialect, MergePlan, PlanColumn, TargetSpec } from "../../../src/core/warehouse.ts";
import { duckdbDialect, expire as duckdbExpire, truncate as duckdbTruncate } from "../../../src/warehouses/duckdb/dialect.ts";
import { expire as postgresExpire, postgresDialect, truncate as postgresTruncate } from "../../../src/warehouses/postgres/dialect.ts";
import { composite } from "../../unit/avro/rows.ts";

const dialects: readonly { readonly dialect: Dialect; readonly truncate: typeof duckdbTruncate; readonly expire: typeof duckdbExpire }[] = [
  { dialect: duckdbDialect, truncate: duckdbTruncate, expire: duckdbExpire },
  { dialect: postgresDialect, truncate: postgresTruncate, expire: postgresExpire },
];

const target = { schema: "analytics", name: "orders" };
const id: PlanColumn = { name: "id", type: { kind: "int8" }, unchanged: "impossible" };
const amount: PlanColumn = { name: "amount", type: { kind: "decimal", precision: 12, scale: 2 }, unchanged: "impossible" };
const note: PlanColumn = { name: "note", type: { kind: "text" }, unchanged: "impossible" };
const unsent: PlanColumn = { ...note, unchanged: "keep_target" };

const plans: readonly { readonly title: string; readonly plan: MergePlan }[] = [
  { title: "hard deletes", plan: { target, key: ["id"], columns: [id, amount, note], deletes: "hard" } },
  { title: "soft deletes", plan: { target, key: ["id"], columns: [id, amount, note], deletes: "soft" } },
  { title: "unchanged columns, hard deletes", plan: { target, key: ["id"], columns: [id, amount, unsent], deletes: "hard" } },
  { title: "unchanged columns, soft deletes", plan: { target, key: ["id"], columns: [id, amount, unsent], deletes: "soft" } },
  {
    title: "a key of several columns, one of them numeric",
    plan: { target, key: ["id", "price"], columns: [id, { name: "price", type: { kind: "numeric" }, unchanged: "impossible" }, note], deletes: "hard" },
  },
  {
    title: "arrays, one of them staged as text, one unchanged",
    plan: {
      target,
      key: ["id"],
      columns: [
        id,
        { name: "addresses", type: { kind: "array", element: { kind: "inet" } }, unchanged: "impossible" },
        { name: "tags", type: { kind: "array", element: { kind: "text" } }, unchanged: "keep_target" },
      ],
      deletes: "hard",
    },
  },
  { title: "key columns only", plan: { target, key: ["id"], columns: [id], deletes: "hard" } },
  {
    title: "names to quote",
    plan: {
      target: { schema: 'we"ird', name: "o'rders 表" },
      key: ['i"d'],
      columns: [{ ...id, name: 'i"d' }, { ...unsent, name: "größe in m'" }],
      deletes: "soft",
    },
  },
];

for (const { dialect, truncate, expire } of dialects) {
  for (const { title, plan } of plans) {
    test(`${dialect.name}: ${title}`, async () => {
      await expectGolden(dialect, title, dialect.merge(plan));
    });
  }

  test(`${dialect.name}: a target of every type`, async () => {
    const elements = [{ kind: "int4" }, { kind: "decimal", precision: 12, scale: 2 }, { kind: "inet" }, { kind: "jsonb" }] as const;
    const arrays = elements.map((element): ColumnType => ({ kind: "array", element }));
    const types = columnKinds.flatMap((kind): readonly ColumnType[] => {
      if (kind === "decimal") return [{ kind, precision: 38, scale: 10 }, { kind, precision: 39, scale: 10 }];
      if (kind === "money") return [{ kind, precision: 19, scale: 2 }];
      if (kind === "array") return arrays;
      if (kind === "range") return [{ kind, typeName: "tstzrange" }];
      if (kind === "composite")
        return [composite("address", { street: { kind: "text" }, "house no": { kind: "int4" }, at: { kind: "point" }, seen: arrays[0]! })];
      return kind === "other" ? [{ kind, typeName: "inet" }] : [{ kind }];
    });
    const columns = types.map((type) => ({ name: nameOf(type), type }));
    const spec: TargetSpec = { target, key: ["int8"], columns, deletes: "soft" };
    await expectGolden(dialect, "target", [dialect.createTarget(spec)]);
  });

  test(`${dialect.name}: truncate`, async () => {
    const sequence = "0001-00000000016b3748-000000000002";
    const [hard, soft] = plans;
    await expectGolden(dialect, "truncate", [...truncate(hard!.plan, sequence), ...truncate(soft!.plan, sequence)]);
  });

  test(`${dialect.name}: tombstones that nothing in the log is older than`, async () => {
    await expectGolden(dialect, "expiry", [expire({ target, sequence: "0001-00000000016b3748-000000000000" })]);
  });

  test(`${dialect.name}: sweep`, async () => {
    const opening = "0001-00000000016b3748-000000000000";
    await expectGolden(dialect, "sweep", [
      ...dialect.sweep({ target, deletes: "hard", opening }),
      ...dialect.sweep({ target, deletes: "soft", opening }),
    ]);
  });
}

function nameOf(type: ColumnType): string {
  if (type.kind === "array") return `${type.element.kind}[]`;
  return type.kind === "decimal" ? `decimal ${type.precision}` : type.kind;
}

async function expectGolden(dialect: Dialect, title: string, statements: readonly string[]): Promise<void> {
  await expect(statements.map((statement) => `${statement};\n`).join("\n")).toMatchFileSnapshot(`${dialect.name}/${title}.sql`);
}
