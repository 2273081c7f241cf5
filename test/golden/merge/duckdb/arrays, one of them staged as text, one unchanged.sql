CREATE OR REPLACE TEMP TABLE tailrace_staged (
  "id" BIGINT,
  "addresses" VARCHAR[],
  "tags" VARCHAR[],
  "_tailrace_unchanged_3" BOOLEAN,
  "_tailrace_seq" VARCHAR,
  "_tailrace_commit_ts" TIMESTAMP WITH TIME ZONE,
  "_tailrace_deleted" BOOLEAN,
  "_tailrace_key" BLOB,
  "_tailrace_row" INTEGER
);

CREATE OR REPLACE TEMP TABLE tailrace_applied AS
WITH m AS (
  SELECT s."_tailrace_row", t.rowid AS "_tailrace_target", t.* EXCLUDE ("id", "addresses", "_tailrace_commit_ts", "_tailrace_merged_ts")
  FROM temp.tailrace_staged s JOIN warehouse."analytics"."orders" t ON t."id" = s."id"
)
SELECT
  ((s."_tailrace_unchanged_3") AND (m."_tailrace_target" IS NULL)) AS "_tailrace_alone",
  s."id",
  s."addresses",
  CASE WHEN s."_tailrace_unchanged_3" THEN m."tags" ELSE s."tags" END AS "tags",
  s."_tailrace_seq",
  s."_tailrace_commit_ts",
  now() AS "_tailrace_merged_ts",
  s."_tailrace_deleted",
  s."_tailrace_key",
  s."_tailrace_row",
  m."_tailrace_target",
  d.rowid AS "_tailrace_tombstone",
  ("_tailrace_alone" AND NOT s."_tailrace_deleted") AS "_tailrace_orphan",
  m.* EXCLUDE ("_tailrace_row", "_tailrace_target", "tags", "_tailrace_seq")
FROM temp.tailrace_staged s
LEFT JOIN m ON m."_tailrace_row" = s."_tailrace_row"
LEFT JOIN warehouse._tailrace.tombstones d ON d.target_schema = 'analytics' AND d.target_name = 'orders' AND d.key = s."_tailrace_key"
WHERE s."_tailrace_seq" > coalesce((SELECT sequence FROM warehouse._tailrace.floors WHERE target_schema = 'analytics' AND target_name = 'orders'), '')
  AND (m."_tailrace_seq" IS NULL OR m."_tailrace_seq" < s."_tailrace_seq")
  AND (d.sequence IS NULL OR d.sequence < s."_tailrace_seq");

SELECT "_tailrace_row" AS "row" FROM temp.tailrace_applied WHERE "_tailrace_orphan" ORDER BY 1;

DELETE FROM warehouse."analytics"."orders" WHERE rowid IN (SELECT "_tailrace_target" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan");

INSERT INTO warehouse."analytics"."orders" BY NAME SELECT * EXCLUDE ("_tailrace_deleted", "_tailrace_key", "_tailrace_row", "_tailrace_target", "_tailrace_tombstone", "_tailrace_alone", "_tailrace_orphan") FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND NOT "_tailrace_deleted" AND "_tailrace_target" IS NOT NULL;

INSERT INTO warehouse."analytics"."orders" ("id", "addresses", "tags", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts") SELECT "id", "addresses", "tags", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND NOT "_tailrace_deleted" AND "_tailrace_target" IS NULL;

DELETE FROM warehouse._tailrace.tombstones WHERE rowid IN (SELECT "_tailrace_tombstone" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND "_tailrace_tombstone" IS NOT NULL);

INSERT INTO warehouse._tailrace.tombstones (target_schema, target_name, key, sequence)
SELECT 'analytics', 'orders', "_tailrace_key", "_tailrace_seq" FROM temp.tailrace_applied WHERE "_tailrace_deleted";
