// Databases and statements on a server that a test has for itself.
import pg from "pg";

/** Makes a database on the server of `url`; its URL. */
export async function databaseOn(url: string, name: string): Promise<string> {
  await query(url, `CREATE DATABASE ${pg.escapeIdentifier(name)}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  return own.href;
}

/** One statement on a connection of its own. */
export async function query<Row extends pg.QueryResultRow = Record<string, unknown>>(
  url: string,
  text: string,
  parameters: readonly unknown[] = [],
): Promise<Row[]> {
  return withClient(url, async (client) => (await client.query<Row>(text, [...parameters])).rows);
}

/** A connection for as long as `work` lasts. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined); // the query under way fails as well
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
