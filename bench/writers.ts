// A steady load, paced by the server itself: a client of ours would take its turn on the same cores.
import pg from "pg";

/** Sessions that write, each its share. */
const WRITERS = 4;
/** What one statement writes, in seconds of the load: how long a stop may take. */
const STRETCH_S = 1;

export type SteadyLoad = {
  readonly url: string;
  /** With a column `id` that fills itself. */
  readonly table: string;
  readonly transactionsPerSecond: number;
  readonly rowsPerTransaction: number;
};

/** Writes until told to stop; resolves when all sessions have ended. */
export async function writeSteadily(load: SteadyLoad, stop: AbortSignal): Promise<void> {
  await Promise.all(Array.from({ length: WRITERS }, async () => write(load, stop)));
}

async function write({ url, table, transactionsPerSecond, rowsPerTransaction }: SteadyLoad, stop: AbortSignal): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const share = Math.round((transactionsPerSecond / WRITERS) * STRETCH_S);
  const one = rowsPerTransaction === 1 ? "DEFAULT VALUES" : `(at) SELECT clock_timestamp() FROM generate_series(1, ${rowsPerTransaction})`;
  try {
    while (!stop.aborted)
      await client.query(`DO $$ DECLARE start timestamptz := clock_timestamp(); BEGIN
      FOR i IN 1..${share} LOOP
        INSERT INTO ${table} ${one};
        COMMIT;
        PERFORM pg_sleep(greatest(0, extract(epoch FROM start + i * interval '${STRETCH_S} second' / ${share} - clock_timestamp())));
      END LOOP; END $$`);
  } finally {
    await client.end();
  }
}
