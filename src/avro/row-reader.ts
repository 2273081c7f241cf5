// A table's rows in the bytes of its events: passed over when an event is read, and written to a warehouse when it is merged.
import type { ColumnWriter } from "../core/staged-rows.ts";
import { Cursor } from "./cursor.ts";
import type { ShapeColumn } from "./shape.ts";
import { valueReader, type ValueReader } from "./value-reader.ts";

/* row ::= column*, a key column's value as it is, any other's behind its union's branch */
export class RowReader {
  readonly #readers: readonly ValueReader[];
  /** 1: a key column, which has no union. */
  readonly #required: Uint8Array;
  readonly #cursor = new Cursor();

  constructor(columns: readonly ShapeColumn[]) {
    this.#readers = columns.map(({ type }) => valueReader(type));
    this.#required = Uint8Array.from(columns, ({ keyPosition }) => (keyPosition > 0 ? 1 : 0));
  }

  get columns(): number {
    return this.#readers.length;
  }

  /** Moves past the row at the cursor. Throws EVENT_UNREADABLE for all that the methods below could not read. */
  skip(cursor: Cursor): void {
    for (let index = 0; index < this.#readers.length; index++) {
      if (this.#required[index] === 1 || cursor.present()) this.#readers[index]!.skip(cursor);
    }
  }

  /** Writes the values of the row that begins at `at`, each into the writer of its column. */
  write(bytes: Buffer, at: number, into: readonly ColumnWriter[]): void {
    const cursor = this.#cursor;
    cursor.begin(bytes, at);
    for (let index = 0; index < this.#readers.length; index++) {
      if (this.#required[index] === 1 || cursor.present()) this.#readers[index]!.write(cursor, into[index]!);
      else into[index]!.null();
    }
  }

  /** Where the values of the row that begins at `at` stand, by column; −1: null. */
  locate(bytes: Buffer, at: number, into: Int32Array): void {
    const cursor = this.#cursor;
    cursor.begin(bytes, at);
    for (let index = 0; index < this.#readers.length; index++) {
      const there = this.#required[index] === 1 || cursor.present();
      into[index] = there ? cursor.position : -1;
      if (there) this.#readers[index]!.skip(cursor);
    }
  }

  /** Writes one column's value from where locate() found it. */
  writeColumn(index: number, bytes: Buffer, at: number, into: ColumnWriter): void {
    if (at < 0) return into.null();
    this.#cursor.begin(bytes, at);
    this.#readers[index]!.write(this.#cursor, into);
  }
}
