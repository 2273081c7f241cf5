// What a table is made of, as far as it tells whether its rows have changed without events (R-silent-ddl): kept in the source's state.
import type { TableName } from "./table.ts";

/** Versions are the transaction ids (xmin) of catalog rows: they tell that something was altered, not what. */
export type TableLayout = TableName & {
  readonly oid: number;
  readonly columns: readonly (readonly [attnum: number, name: string, version: number])[];
  /** Names that columns had and none has now: targets keep such a column with its values. */
  readonly formerNames: readonly string[];
  /** A digest of the files that its rows are in. */
  readonly files: string;
  /** Partitions that were attached, rather than made as partitions. */
  readonly attached: readonly (readonly [oid: number, version: number])[];
};
