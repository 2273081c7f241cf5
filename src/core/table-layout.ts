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
  /** Of the composites that its columns are of, and what these are of; absent: there are none. */
  readonly composites?: KnownComposites;
  /** Partitions that were attached, rather than made as partitions. */
  readonly attached: readonly (readonly [oid: number, version: number])[];
  /** Of each column whose type has an enum in it: how many labels that has, and a digest of them. undefined: of a state that did not look. */
  readonly labels?: readonly (readonly [attnum: number, count: number, digest: string])[];
};

/** A type by its OID; `given`: attribute numbers that were ever given. Attributes in order. */
export type CompositeShape = readonly [
  oid: number,
  label: string,
  given: number,
  attributes: readonly (readonly [number: number, name: string, typeOid: number, typeModifier: number])[],
];

/** Rows up to `since` (an LSN) may be of former shapes, from which attributes were added, or dropped. */
export type KnownComposites = {
  readonly shapes: readonly CompositeShape[];
  readonly since: string;
  readonly added: boolean;
  readonly dropped: boolean;
};
