// A day in the shop: orders come, are paid, change and go; prices and addresses move. One connection, one transaction
// after the other at a steady rate, until told to stop.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { reasonOf } from "../core/errors.ts";
import { backoffMs, pause } from "../core/pause.ts";
import { address, newCustomers, placeOrders, randomText } from "./shop.ts";

export type LoadOptions = {
  readonly url: string;
  /** Transactions a second. */
  readonly perSecond: number;
  /** Orders kept; beyond them the oldest are deleted, so that a shop that is left open does not grow for ever. */
  readonly maxOrders: number;
  /** A whole number: the same one brings the same transactions in the same order. */
  readonly seed: number;
  /** Told once a series of failures begins, and when it has ended (null). */
  readonly onTrouble: (reason: string | null) => void;
};

/** One statement of a transaction, prepared once a connection. `orders`: its rows are orders made (1) or removed (−1). */
type Step = { readonly name: string; readonly text: string; readonly values?: readonly unknown[]; readonly orders?: 1 | -1 };

/** What a wait for the server is worth, ms; bounds how long stopping takes. */
const QUERY_TIMEOUT_MS = 3_000;
const BACKOFF = { firstMs: 200, maxMs: 3_000 };
/** A load that fell further behind does not catch up in a burst, ms. */
const MOST_BEHIND_MS = 500;

/** A random order in a state; nothing where there is none just now. The subquery keeps random() from being asked per row. */
const someOrder = (where: string): string =>
  `(SELECT id FROM orders WHERE id >= (SELECT min(id) + floor(random() * (max(id) - min(id) + 1))::bigint FROM orders) AND ${where} ORDER BY id LIMIT 1)`;
const someId = (table: string): string =>
  `(SELECT id FROM ${table} WHERE id >= (SELECT min(id) + floor(random() * (max(id) - min(id) + 1))::bigint FROM ${table}) ORDER BY id LIMIT 1)`;

const place = (paid: 0 | 1): Step => ({ name: "place", text: placeOrders, values: [1, paid], orders: 1 });
const advance: Step = {
  name: "advance",
  text: `UPDATE orders SET changed_at = clock_timestamp(),
    status = CASE status WHEN 'new' THEN 'paid' WHEN 'paid' THEN 'packed' WHEN 'packed' THEN 'shipped' ELSE 'delivered' END::order_status
    WHERE id = ${someOrder("status IN ('new', 'paid', 'packed', 'shipped')")}`,
};
const capture: Step = {
  name: "capture",
  text: `UPDATE payments SET captured = true, paid_at = clock_timestamp(), details = details || jsonb_build_object('attempt', 2)
    WHERE id = (SELECT id FROM payments WHERE order_id = ${someOrder("true")} LIMIT 1)`,
};
const reprice: Step = {
  name: "reprice",
  text: `UPDATE products SET price = round(greatest(0.5, price * (0.8 + random()::numeric * 0.4)), 2), updated_at = clock_timestamp()
    WHERE id = ${someId("products")}`,
};
const sale: Step = {
  name: "sale",
  text: `UPDATE products SET price = greatest(0.5, price - 0.01), active = NOT active WHERE id % 40 = (SELECT floor(random() * 40)::int)`,
};
const rewrite: Step = {
  name: "rewrite",
  text: `UPDATE products SET description = CASE WHEN random() < 0.1 THEN NULL ELSE ${randomText(8_000, "products.id")} END,
    updated_at = clock_timestamp() WHERE id = ${someId("products")}`,
};
const move: Step = { name: "move", text: `UPDATE customers SET address = (SELECT ${address}) WHERE id = ${someId("customers")}` };
const join: Step = { name: "join", text: newCustomers, values: [1] };
const cancel: Step = {
  name: "cancel",
  text: `UPDATE orders SET status = 'cancelled', changed_at = clock_timestamp() WHERE id = ${someOrder("status IN ('new', 'paid')")}`,
};
/** Items and payments go with their order. */
const removeCancelled: Step = {
  name: "remove_cancelled",
  text: `DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE status = 'cancelled' ORDER BY id LIMIT 3)`,
  orders: -1,
};
const removeOldest: Step = {
  name: "remove_oldest",
  text: `DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 20)`,
  orders: -1,
};

/** Transactions by how often they come. */
const mix: readonly (readonly [share: number, steps: readonly Step[]])[] = [
  [28, [place(1)]],
  [6, [place(0)]],
  [30, [advance]],
  [6, [capture]],
  [10, [reprice]],
  [1, [sale]],
  [1, [rewrite, reprice]],
  [7, [move]],
  [3, [join]],
  [4, [cancel]],
  [2, [removeCancelled]],
];
/** Of 100; the rest are lines removed and renumbered. */
const SUM = mix.reduce((sum, [share]) => sum + share, 0);

const pickLines = {
  name: "pick_lines",
  text: `SELECT order_id, min(line) AS gone, max(line) AS last FROM order_items WHERE order_id = ${someOrder("true")}
    GROUP BY order_id HAVING count(*) > 1`,
};
type PickedLines = { readonly order_id: string; readonly gone: number; readonly last: number };

/** The order's last line takes the place of the one that is removed: a row goes, and another gets its key. */
function renumberLines({ order_id, gone, last }: PickedLines): readonly Step[] {
  return [
    { name: "remove_line", text: "DELETE FROM order_items WHERE order_id = $1 AND line = $2", values: [order_id, gone] },
    { name: "renumber", text: "UPDATE order_items SET line = $2 WHERE order_id = $1 AND line = $3", values: [order_id, gone, last] },
    {
      name: "total",
      text: "UPDATE orders SET total = (SELECT sum(quantity * unit_price) FROM order_items WHERE order_id = $1) WHERE id = $1",
      values: [order_id],
    },
  ];
}

/** Owns its connection; `done` resolves, and never rejects, after the signal. */
export class ShopLoad {
  readonly done: Promise<void>;
  #transactions = 0;
  #orders = 0;
  #random: number;
  readonly #options: LoadOptions;

  constructor(options: LoadOptions, signal: AbortSignal) {
    this.#options = options;
    this.#random = options.seed >>> 0;
    this.done = this.#run(signal);
  }

  /** Committed so far. */
  get transactions(): number {
    return this.#transactions;
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      const before = this.#transactions;
      try {
        await this.#session(signal, () => {
          if (failures > 0) this.#options.onTrouble(null);
          failures = 0;
        });
      } catch (cause) {
        if (failures === 0 || this.#transactions > before) this.#options.onTrouble(reasonOf(cause));
        await pause(backoffMs(failures++, BACKOFF, Math.random()), signal);
      }
    }
  }

  /** Until the signal or an error. */
  async #session(signal: AbortSignal, onCommit: () => void): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.url,
      application_name: "shop",
      connectionTimeoutMillis: QUERY_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      statement_timeout: QUERY_TIMEOUT_MS,
    });
    // Told between two queries it says why; of the next one the client says only that it can't be made.
    const lost: { cause: Error | null } = { cause: null };
    client.on("error", (error) => (lost.cause ??= error));
    try {
      await client.connect();
      await client.query("SELECT setseed($1)", [this.#draw()]);
      this.#orders = Number((await client.query<{ count: string }>("SELECT count(*) FROM orders")).rows[0]?.count ?? 0);
      const intervalMs = 1_000 / this.#options.perSecond;
      let due = performance.now();
      while (!signal.aborted) {
        await this.#transaction(client);
        this.#transactions += 1;
        onCommit();
        due = Math.max(due + intervalMs, performance.now() - MOST_BEHIND_MS);
        const early = due - performance.now();
        if (early > 1) await sleep(early, undefined, { signal }).catch(() => undefined);
      }
    } catch (cause) {
      throw lost.cause ?? cause;
    } finally {
      await Promise.race([client.end().catch(() => undefined), sleep(QUERY_TIMEOUT_MS, undefined, { ref: false })]);
    }
  }

  async #transaction(client: pg.Client): Promise<void> {
    if (this.#orders > this.#options.maxOrders) return await this.#commit(client, [removeOldest]);
    let left = this.#draw() * 100;
    if (left >= SUM) {
      const { rows } = await client.query<PickedLines>(pickLines);
      return await this.#commit(client, rows[0] === undefined ? [] : renumberLines(rows[0]));
    }
    for (const [share, steps] of mix) {
      left -= share;
      if (left < 0) return await this.#commit(client, steps);
    }
  }

  /** The steps in one transaction; one alone is one by itself. */
  async #commit(client: pg.Client, steps: readonly Step[]): Promise<void> {
    if (steps.length > 1) await client.query("BEGIN");
    for (const { name, text, values = [], orders } of steps) {
      const { rowCount } = await client.query({ name, text, values: [...values] });
      if (orders === 1) this.#orders += 1;
      else if (orders === -1) this.#orders -= rowCount ?? 0;
    }
    if (steps.length > 1) await client.query("COMMIT");
  }

  /** 0 to 1. A linear congruential generator, modulus 2^32: enough for a shop, and the same everywhere. */
  #draw(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 2 ** 32;
  }
}
