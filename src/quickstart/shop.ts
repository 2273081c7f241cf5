// The sample shop: five tables with the types that shops have, and 20,000 rows to begin with.
import type { ClientBase } from "pg";
import type { TableName } from "../core/table.ts";

export const shopTables: readonly TableName[] = ["customers", "products", "orders", "order_items", "payments"].map((name) => ({
  schema: "public",
  name,
}));

/** Rows of the first fill; 2 items an order on average make 20,000 rows in all. */
const ROWS = { customers: 2_500, products: 800, orders: 4_500, payments: 3_200 } as const;

/** Of random(), so that every shop begins alike. −1 to 1, as setseed() takes it. */
const SEED = 0.42;

/**
 * `description` is stored out of line and uncompressed: an update of another column leaves it unsent, as it does for any
 * large value. `order_items` has two key columns, one of which changes now and then.
 */
const SCHEMA = `
CREATE TYPE order_status AS ENUM ('new', 'paid', 'packed', 'shipped', 'delivered', 'cancelled');

CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL,
  born date,
  address jsonb NOT NULL,
  newsletter boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE products (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sku uuid NOT NULL DEFAULT gen_random_uuid(),
  name text NOT NULL,
  price numeric(12,2) NOT NULL,
  description text,
  thumbnail bytea,
  warranty interval,
  active boolean NOT NULL DEFAULT true,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE products ALTER COLUMN description SET STORAGE EXTERNAL;
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  reference uuid NOT NULL DEFAULT gen_random_uuid(),
  customer_id bigint NOT NULL REFERENCES customers,
  status order_status NOT NULL DEFAULT 'new',
  total numeric(12,2) NOT NULL,
  note text,
  deliver_on date,
  placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at timestamptz
);
CREATE TABLE order_items (
  order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
  line integer NOT NULL,
  product_id bigint NOT NULL REFERENCES products,
  quantity smallint NOT NULL,
  unit_price numeric(12,2) NOT NULL,
  PRIMARY KEY (order_id, line)
);
CREATE TABLE payments (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE,
  method text NOT NULL,
  amount numeric(12,2) NOT NULL,
  captured boolean NOT NULL DEFAULT false,
  paid_at timestamptz,
  details jsonb
);
CREATE INDEX ON payments (order_id);
`;

/** Makes the tables, all or none, where they are missing. */
export async function createShop(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass('public.payments') IS NOT NULL AS there");
  if (rows[0]?.there !== true) await client.query(`BEGIN; ${SCHEMA} COMMIT`);
}

/**
 * Writes the first rows, in three transactions; what a run before this one has written is left as it is. Returns the
 * rows written.
 */
export async function fillShop(client: ClientBase): Promise<number> {
  await client.query("SELECT setseed($1)", [SEED]);
  let written = 0;
  const isEmpty = async (table: string): Promise<boolean> =>
    (await client.query<{ empty: boolean }>(`SELECT NOT EXISTS (SELECT FROM ${table}) AS empty`)).rows[0]?.empty === true;
  if (await isEmpty("customers")) written += (await client.query(newCustomers, [ROWS.customers])).rowCount ?? 0;
  if (await isEmpty("products")) written += (await client.query(NEW_PRODUCTS, [ROWS.products])).rowCount ?? 0;
  if (await isEmpty("orders")) {
    const { rows } = await client.query<{ written: number }>(placeOrders, [ROWS.orders, ROWS.payments]);
    written += rows[0]?.written ?? 0;
  }
  // Without statistics the load's first statements would read whole tables.
  if (written > 0) await client.query("ANALYZE");
  return written;
}

/** A random element of a list of texts. */
function oneOf(texts: readonly string[]): string {
  const list = texts.map((text) => `'${text.replaceAll("'", "''")}'`).join(", ");
  return `(ARRAY[${list}])[1 + floor(random() * ${texts.length})::int]`;
}

/** Random text of about `bytes` bytes: md5 gives 32 at a time. Naming `row` makes it another text for each row. */
export function randomText(bytes: number, row: string): string {
  return `(SELECT '„Größe“ ' || string_agg(md5(random()::text || ${row} || part), ' ') FROM generate_series(1, ${Math.ceil(bytes / 33)}) AS part)`;
}

const givenName = oneOf(["Zoë", "Jürgen", "Łucja", "Søren", "Noémie", "Дмитрий", "İpek", "さくら", "Ξένια", "Aoife", "محمد", "Björk 👩‍🚀"]);
const familyName = oneOf([
  "O'Neill",
  "Müller",
  "Çelik",
  "Nørgaard",
  "Świątek",
  "小林",
  "Иванова",
  "d'Aubigné",
  "Smith",
  "Nguyễn",
  "González",
  "Åberg",
]);

/** Of a customer; keys in an order that jsonb changes, and a number that it keeps as written. */
export const address = `jsonb_build_object(
  'street', ${oneOf(["Königsallee", "rue de l'Église", "ulica Długa", "Βουλής", "Main Street", "銀座"])} || ' ' || (1 + floor(random() * 300))::int,
  'zip', lpad(floor(random() * 100000)::text, 5, '0'), 'city', ${oneOf(["Zürich", "Łódź", "Αθήνα", "São Paulo", "Reykjavík", "東京"])},
  'geo', jsonb_build_array(round((random() * 180 - 90)::numeric, 6), 1.50))`;

/** Parameter: how many. */
export const newCustomers = `
INSERT INTO customers (name, email, born, address, newsletter)
SELECT name, 'c' || md5(name || n || random()) || '@example.com',
  CASE WHEN random() < 0.8 THEN date '1940-01-01' + floor(random() * 25000)::int END, address, random() < 0.3
FROM (SELECT n, ${givenName} || ' ' || ${familyName} AS name, ${address} AS address FROM generate_series(1, $1::int) AS n) AS drawn`;

/** Of ten products one has no description, one a short one that stays in its row, eight one of 8 kB. Parameter: how many. */
const NEW_PRODUCTS = `
INSERT INTO products (sku, name, price, description, thumbnail, warranty, active)
SELECT md5('product ' || n)::uuid, ${oneOf(["Café crème", "Fußball", "Smørrebrød", "пельмени", "Gürtel", "Lamp"])} || ' № ' || n,
  round((0.5 + random() * 900)::numeric, 2),
  CASE n % 10 WHEN 0 THEN NULL WHEN 1 THEN 'short' ELSE ${randomText(8_000, "n")} END,
  CASE WHEN n % 3 > 0 THEN decode(md5('thumbnail ' || n) || 'ff00' || md5('of ' || n), 'hex') END,
  CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN interval '2 years' WHEN 2 THEN interval '1 mon 14 days' ELSE interval '90 days 12:30:00.25' END,
  n % 17 > 0
FROM generate_series(1, $1::int) AS n`;

/** Places orders of 1 to 3 items, and pays the first of them. Parameters: how many orders, how many of them are paid. */
export const placeOrders = `
WITH bounds AS MATERIALIZED (
  SELECT (SELECT min(id) FROM customers) AS c0, (SELECT max(id) FROM customers) AS c1,
    (SELECT min(id) FROM products) AS p0, (SELECT max(id) FROM products) AS p1
), placed AS MATERIALIZED (
  SELECT n, nextval(pg_get_serial_sequence('orders', 'id')) AS id, c0 + floor(random() * (c1 - c0 + 1))::bigint AS wanted,
    1 + floor(random() * 3)::int AS lines, random() AS mood
  FROM bounds, generate_series(1, $1::int) AS n
), drawn AS MATERIALIZED (
  SELECT placed.id AS order_id, line, 1 + floor(random() * 5)::int AS quantity, p0 + floor(random() * (p1 - p0 + 1))::bigint AS wanted
  FROM bounds, placed, generate_series(1, CASE WHEN $1::int = 1 THEN lines ELSE 1 + n % 3 END) AS line
), items AS MATERIALIZED (
  SELECT order_id, line, product.id AS product_id, quantity, product.price
  FROM drawn, LATERAL (SELECT id, price FROM products WHERE id >= wanted ORDER BY id LIMIT 1) AS product
), totals AS MATERIALIZED (
  SELECT order_id, sum(quantity * price) AS total FROM items GROUP BY order_id
), in_orders AS (
  INSERT INTO orders (id, customer_id, status, total, note, deliver_on) OVERRIDING SYSTEM VALUE
  SELECT placed.id, customer.id, CASE WHEN n <= $2::int THEN 'paid' ELSE 'new' END::order_status, total,
    CASE WHEN mood < 0.3 THEN ${oneOf(["bitte klingeln 🔔", "à laisser chez le voisin", "gift", "", "back\\slash\ttab\nline"])} END,
    CASE WHEN mood < 0.7 THEN current_date + floor(mood * 30)::int END
  FROM placed JOIN totals ON order_id = placed.id, LATERAL (SELECT id FROM customers WHERE id >= wanted ORDER BY id LIMIT 1) AS customer
  RETURNING 1
), in_items AS (
  INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
  SELECT order_id, line, product_id, quantity, price FROM items
  RETURNING 1
), in_payments AS (
  INSERT INTO payments (order_id, method, amount, captured, paid_at, details)
  SELECT id, method, total, mood < 0.9, clock_timestamp(), jsonb_build_object('method', method, 'attempt', 1, 'fee', round(total * 0.015, 4))
  FROM (SELECT *, ${oneOf(["card", "PayPal", "Überweisung", "iDEAL"])} AS method FROM placed WHERE n <= $2::int) AS paid JOIN totals ON order_id = id
  RETURNING 1
)
SELECT ((SELECT count(*) FROM in_orders) + (SELECT count(*) FROM in_items) + (SELECT count(*) FROM in_payments))::int AS written`;
