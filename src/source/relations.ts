// What the stream's relation OIDs stand for, as their RELATION messages told last. A row asks for its table, most often the one before's.
import { TailraceError } from "../core/errors.ts";
import type { Lsn } from "../core/lsn.ts";
import { compareSequence, type Sequence } from "../core/sequence.ts";
import type { Relation } from "../postgres/pgoutput.ts";
import type { CapturedTable, PassedOver, Resolved } from "./captured-table.ts";

export class Relations {
  readonly #tables = new Map<number, CapturedTable | null>();
  /** Of those that are null in #tables for now: the server sends no other RELATION before the rows that are to be taken. */
  readonly #passedOver = new Map<number, PassedOver & { readonly relation: Relation }>();
  #lastOid = -1;
  #lastTable: CapturedTable | null = null;

  set(relation: Relation, resolved: Resolved): void {
    this.#lastOid = -1;
    const isPassedOver = resolved !== null && "upTo" in resolved;
    if (isPassedOver) this.#passedOver.set(relation.oid, { ...resolved, relation });
    else this.#passedOver.delete(relation.oid);
    this.#tables.set(relation.oid, isPassedOver ? null : resolved);
  }

  /** Each table as `renew` has it now. */
  renew(renew: (captured: CapturedTable) => CapturedTable | null): void {
    for (const [oid, table] of this.#tables) if (table !== null) this.#tables.set(oid, renew(table));
    this.#lastOid = -1;
  }

  /** null: the rows of the transaction that commits at `commitLsn` are passed over. Throws STREAM_PROTOCOL before any RELATION. */
  table(oid: number, commitLsn: Lsn): CapturedTable | null {
    if (oid !== this.#lastOid) {
      const found = this.#tables.get(oid);
      if (found === undefined)
        throw new TailraceError("STREAM_PROTOCOL", { reason: `a row of relation ${oid} before its RELATION message` });
      this.#lastOid = oid;
      this.#lastTable = found;
    }
    const captured = this.#lastTable;
    return captured !== null && commitLsn < captured.reading.passedBelow ? null : captured;
  }

  get passesOver(): boolean {
    return this.#passedOver.size > 0;
  }

  /** The relation whose rows were to be passed over up to before `place`, and that has to be resolved again; null: another. */
  behind(oid: number, place: Sequence): Relation | null {
    const found = this.#passedOver.get(oid);
    return found !== undefined && compareSequence(place, found.upTo) > 0 ? found.relation : null;
  }
}
