// Random histories of a database under snapshots, and the question at the end of each: once everything has come to rest,
// is the target what the source's tables are? A history is an array of small commands that do what is possible then.
import fc from "fast-check";
import { COLUMNS, Database, KEYS, TABLES, Transaction } from "./snapshot-model-database.ts";
import { Log, merge, PARTITIONS } from "./snapshot-model-log.ts";
import { allRules, type Modules, type Rules } from "./snapshot-model-rules.ts";
import { Source } from "./snapshot-model-source.ts";

/** What may happen, and how often. */
const weights = {
  write: 40,
  assign: 3,
  writeCommit: 10,
  commit: 8,
  show: 6,
  abort: 2,
  connect: 3,
  deliver: 12,
  catchUp: 4,
  flush: 8,
  writeState: 6,
  stateWritten: 6,
  poll: 4,
  markOpening: 4,
  read: 20,
  work: 60,
  truncate: 3,
  alter: 10,
  look: 6,
  request: 1,
  sayEnds: 3,
  dropSlot: 4,
  crash: 4,
  lose: 4,
  loseReader: 4,
  endOrphan: 4,
} as const;

type Act = keyof typeof weights;
const ACTS = Object.entries(weights).flatMap(([act, weight]) => Array<Act>(weight).fill(act as Act));
/** Each is left out of half of the histories, so that there are quieter ones for the others. */
const troubles = ["deliver", "catchUp", "truncate", "alter", "look", "dropSlot", "crash", "lose", "loseReader", "endOrphan"] as const;
/** Transactions of the application that are open at once. */
const WRITERS = 4;

/** `a` and `b`: 0 to 7, `c`: 0 to 15, and what they mean depends on the act. */
export type Command = { readonly act: Act; readonly a: number; readonly b: number; readonly c: number };

export type History = {
  /** Ids are handed out from here on. */
  readonly firstXid: number;
  /** Rows of before the first start, one bit a key. */
  readonly rows: number;
  /** Everything that there was has been read before the first command. */
  readonly settled: boolean;
  /** Whether the window is told of snapshots that were taken for no chunk. */
  readonly advances: boolean;
  readonly commands: readonly Command[];
};

export function command(act: Act, a = 0, b = 0, c = 0): Command {
  return { act, a, b, c };
}

/** Commands are drawn as numbers, which shrink well. */
const numbers = fc.array(fc.nat(ACTS.length * 1024 - 1), { maxLength: 400, size: "max" });

export const histories: fc.Arbitrary<History> = fc
  .noBias(
    fc.record({
      firstXid: fc.integer({ min: 1, max: 40 }).map((before) => 3 * 2 ** 32 - before),
      rows: fc.nat(2 ** (TABLES * KEYS) - 1),
      settled: fc.nat(2).map((n) => n === 1),
      advances: fc.boolean(),
      quiet: fc.subarray<Act>([...troubles]),
      numbers,
    }),
  )
  .map(({ quiet, numbers: drawn, ...history }): History => {
    const commands = drawn.map((n) => command(ACTS[n >> 10]!, (n >> 7) & 7, (n >> 4) & 7, n & 15));
    return { ...history, commands: commands.filter(({ act }) => !quiet.includes(act)) };
  });

/** Runs the history and then everything that is left to do. Throws when the target is not the source, with the difference. */
export function run(history: History, modules: Modules, rules: Rules = allRules): void {
  const world = new World(history, modules, rules);
  if (history.settled) world.drain();
  for (const each of history.commands) world.act(each);
  world.drain();
  world.check();
}

class World {
  readonly #database: Database;
  readonly #log = new Log();
  readonly #source: Source;
  readonly #writers: (Transaction | null)[] = Array<Transaction | null>(WRITERS).fill(null);
  /** Their commit stands in the WAL. */
  #waiting: Transaction[] = [];

  constructor(history: History, modules: Modules, rules: Rules) {
    const database = new Database(history.firstXid);
    this.#database = database;
    this.#source = new Source(database, this.#log, modules, rules, history.advances);
    const first = new Transaction();
    for (let place = 0; place < TABLES * KEYS; place++)
      if (((history.rows >> place) & 1) === 1) database.insert(first, Math.floor(place / KEYS), place % KEYS);
    database.commit(first);
  }

  act({ act, a, b, c }: Command): void {
    const database = this.#database;
    const source = this.#source;
    switch (act) {
      case "write":
        return this.#write(a, b, c);
      case "assign":
        database.assign(this.#writer(a));
        return;
      case "work":
        if (!source.connected) source.connect();
        else if (!source.starting) source.read(a < 6 ? 0 : 1, 1 + (b % 3), c < 8);
        else if (a < 4) source.poll();
        else source.markOpening();
        return;
      case "truncate":
        database.truncate(this.#writer(a), b % TABLES);
        return;
      case "writeCommit":
        return this.#end(a, (transaction) => {
          database.writeCommit(transaction);
          if (!transaction.ended) this.#waiting.push(transaction);
        });
      case "commit":
        return this.#end(a, (transaction) => database.commit(transaction));
      case "abort":
        return this.#end(a, (transaction) => database.abort(transaction));
      case "show":
        return this.#show(a);
      case "endOrphan":
        return this.#endOrphan(a, b < 6);
      case "alter":
        return this.#alter(a % TABLES, b < 4);
      case "dropSlot":
        if (!source.connected) database.slot = null;
        return;
      case "connect":
        return source.connect();
      case "crash":
        return source.lose(true, a < 4);
      case "lose":
        return source.lose(false, a < 4);
      case "look":
        return source.lookAtPublication();
      case "deliver":
        return source.deliver();
      case "catchUp":
        for (let n = 0; n < 8; n++) source.deliver();
        return;
      case "flush":
        return a < 3 ? source.flushAll() : source.flush(b % PARTITIONS, 1 + c);
      case "sayEnds":
        return source.sayEnds();
      case "request":
        return source.request(a % TABLES);
      case "writeState":
        return source.writeState();
      case "stateWritten":
        return source.stateWritten(a < 6);
      case "poll":
        return source.poll();
      case "markOpening":
        return source.markOpening();
      case "read":
        source.read(a < 6 ? 0 : 1, 1 + (b % 3), c < 8);
        return;
      case "loseReader":
        return source.loseReader(a & 1);
    }
  }

  /** Everything that waits happens: the application ends, the source catches up. */
  drain(): void {
    const source = this.#source;
    for (let writer = 0; writer < WRITERS; writer++) this.#end(writer, (transaction) => this.#database.commit(transaction));
    while (this.#waiting.length > 0) this.#show(0);
    for (let round = 0; round < 60; round++) {
      while (source.orphans.length > 0) this.#endOrphan(0, true);
      source.lookAtPublication();
      source.connect();
      for (let n = 0; n < 20; n++) source.deliver();
      source.flushAll();
      source.sayEnds();
      source.poll();
      source.markOpening();
      for (const reader of [0, 1]) while (source.read(reader, KEYS, false));
      source.stateWritten(true);
      source.writeState();
      if (source.idle) return;
    }
    throw new Error("the source never comes to rest");
  }

  check(): void {
    const database = this.#database;
    const target = merge(this.#log);
    for (let table = 0; table < TABLES; table++) {
      const rows = [...database.read(table, database.now, () => true)].sort((a, b) => a.key - b.key);
      const print = (all: typeof rows): string => all.map(({ key, values }) => `${key}: ${values.join(" ")}`).join(", ");
      if (print(rows) !== print([...(target[table] ?? [])]))
        throw new Error(`table ${table} is {${print(rows)}} and its target {${print([...(target[table] ?? [])])}}`);
    }
  }

  #writer(number: number): Transaction {
    return (this.#writers[number % WRITERS] ??= new Transaction());
  }

  #write(writer: number, where: number, how: number): void {
    const database = this.#database;
    const transaction = this.#writer(writer);
    const table = where < 6 ? 0 : 1;
    const key = (where * 3 + (writer >> 2)) % KEYS;
    const there = database.has(transaction, table, key);
    if (there === null) return;
    if (!there) return database.insert(transaction, table, key);
    if (how < 3) return database.delete(transaction, table, key);
    // Two bits say which TOASTed columns are left alone.
    const leaves = COLUMNS.filter((column) => column > 0 && ((how >> (column - 1)) & 1) === 1);
    const to = how < 10 ? key : (key + (writer >> 2) + 1) % KEYS;
    if (to === key || database.has(transaction, table, to) === false) database.update(transaction, table, key, to, leaves);
  }

  #end(writer: number, end: (transaction: Transaction) => void): void {
    const transaction = this.#writers[writer % WRITERS] ?? null;
    this.#writers[writer % WRITERS] = null;
    if (transaction !== null) end(transaction);
  }

  #show(which: number): void {
    const transaction = this.#waiting[which % Math.max(this.#waiting.length, 1)];
    this.#waiting = this.#waiting.filter((each) => each !== transaction);
    if (transaction !== undefined) this.#database.show(transaction);
  }

  #endOrphan(which: number, commits: boolean): void {
    const { orphans } = this.#source;
    const transaction = orphans.splice(which % Math.max(orphans.length, 1), 1)[0];
    if (transaction === undefined || transaction.ended) return;
    if (commits) this.#database.commit(transaction);
    else this.#database.abort(transaction);
  }

  /** Somebody takes a table out of the publication, or puts it back. */
  #alter(table: number, atOnce: boolean): void {
    const transaction = this.#database.alter(table);
    if (transaction === null) return;
    this.#database.writeCommit(transaction);
    if (atOnce) this.#database.show(transaction);
    else this.#waiting.push(transaction);
  }
}
