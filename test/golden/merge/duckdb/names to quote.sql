CREATE OR REPLACE TEMP TABLE tailrace_staged (
  "i""d" BIGINT,
  "größe in m'" VARCHAR,
  "_tailrace_unchanged_2" BOOLEAN,
  "_tailrace_seq" VARCHAR,
  "_tailrace_commit_ts" TIMESTAMP WITH TIME ZONE,
  "_tailrace_deleted" BOOLEAN,
  "_tailrace_key" BLOB,
  "_tailrace_row" INTEGER
);

CREATE OR REPLACE TEMP TABLE tailrace_applied AS
WITH m AS (
  SELECT s."_tailrace_row", t.rowid AS "_tailrace_target", t.* EXCLUDE ("i""d", "_tailrace_commit_ts", "_tailrace_merged_ts")
  FROM temp.tailrace_staged s JOIN warehouse."we""ird"."o'rders 表" t ON t."i""d" = s."i""d"
)
SELECT
  ((s."_tailrace_unchanged_2") AND (m."_tailrace_target" IS NULL OR m."_tailrace_deleted" IS TRUE)) AS "_tailrace_alone",
  s."i""d",
  CASE WHEN "_tailrace_alone" OR s."_tailrace_unchanged_2" THEN m."größe in m'" ELSE s."größe in m'" END AS "größe in m'",
  s."_tailrace_seq",
  s."_tailrace_commit_ts",
  now() AS "_tailrace_merged_ts",
  s."_tailrace_deleted",
  s."_tailrace_key",
  s."_tailrace_row",
  m."_tailrace_target",
  d.rowid AS "_tailrace_tombstone",
  ("_tailrace_alone" AND NOT s."_tailrace_deleted") AS "_tailrace_orphan",
  m.* EXCLUDE ("_tailrace_row", "_tailrace_target", "größe in m'", "_tailrace_seq", "_tailrace_deleted")
FROM temp.tailrace_staged s
LEFT JOIN m ON m."_tailrace_row" = s."_tailrace_row"
LEFT JOIN warehouse._tailrace.tombstones d ON d.target_schema = 'we"ird' AND d.target_name = 'o''rders 表' AND d.key = s."_tailrace_key"
WHERE (s."_tailrace_deleted" OR s."_tailrace_seq" > coalesce((SELECT sequence FROM warehouse._tailrace.floors WHERE target_schema = 'we"ird' AND target_name = 'o''rders 表'), ''))
  AND (m."_tailrace_seq" IS NULL OR m."_tailrace_seq" < s."_tailrace_seq")
  AND (d.sequence IS NULL OR d.sequence < s."_tailrace_seq");

SELECT "_tailrace_row" AS "row" FROM temp.tailrace_applied WHERE "_tailrace_orphan" ORDER BY 1;

DELETE FROM warehouse."we""ird"."o'rders 表" WHERE rowid IN (SELECT "_tailrace_target" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan");

INSERT INTO warehouse."we""ird"."o'rders 表" BY NAME SELECT * EXCLUDE ("_tailrace_key", "_tailrace_row", "_tailrace_target", "_tailrace_tombstone", "_tailrace_alone", "_tailrace_orphan") FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND "_tailrace_target" IS NOT NULL;

INSERT INTO warehouse."we""ird"."o'rders 表" ("i""d", "größe in m'", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts", "_tailrace_deleted") SELECT "i""d", "größe in m'", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts", "_tailrace_deleted" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND "_tailrace_target" IS NULL;

DELETE FROM warehouse._tailrace.tombstones WHERE rowid IN (SELECT "_tailrace_tombstone" FROM temp.tailrace_applied WHERE NOT "_tailrace_orphan" AND "_tailrace_tombstone" IS NOT NULL);
