CREATE TEMP TABLE "tailrace_staged" ON COMMIT DELETE ROWS AS
SELECT
  NULL::bigint AS "i""d",
  t."größe in m'",
  ''::text COLLATE "C" AS "_tailrace_seq",
  now() AS "_tailrace_commit_ts",
  false AS "_tailrace_deleted",
  ''::bytea AS "_tailrace_key",
  0 AS "_tailrace_row",
  NULL::smallint[] AS "_tailrace_unchanged"
FROM "we""ird"."o'rders 表" t
WITH NO DATA;

COPY pg_temp."tailrace_staged" ("i""d", "größe in m'", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_deleted", "_tailrace_key", "_tailrace_row", "_tailrace_unchanged") FROM STDIN (FORMAT binary);

DELETE FROM pg_temp."tailrace_staged" s
WHERE s."_tailrace_unchanged" IS NOT NULL
  AND NOT s."_tailrace_deleted"
  AND (s."_tailrace_deleted" OR s."_tailrace_seq" > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE f.target_schema = 'we"ird' AND f.target_name = 'o''rders 表'), ''))
  AND s."_tailrace_seq" > coalesce((SELECT d.sequence FROM _tailrace.tombstones d WHERE d.target_schema = 'we"ird' AND d.target_name = 'o''rders 表' AND d.key = s."_tailrace_key"), '')
  AND NOT EXISTS (SELECT FROM "we""ird"."o'rders 表" t WHERE t."i""d" = s."i""d"
    AND (t."_tailrace_deleted" IS NOT TRUE OR t."_tailrace_seq" COLLATE "C" >= s."_tailrace_seq"))
RETURNING s."_tailrace_row" AS "row";

MERGE INTO "we""ird"."o'rders 表" AS t
USING (
  SELECT
    s."i""d", s."größe in m'", s."_tailrace_seq", s."_tailrace_commit_ts", s."_tailrace_deleted", s."_tailrace_unchanged"
  FROM pg_temp."tailrace_staged" s
  WHERE (s."_tailrace_deleted" OR s."_tailrace_seq" > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE f.target_schema = 'we"ird' AND f.target_name = 'o''rders 表'), ''))
    AND s."_tailrace_seq" > coalesce((SELECT d.sequence FROM _tailrace.tombstones d WHERE d.target_schema = 'we"ird' AND d.target_name = 'o''rders 表' AND d.key = s."_tailrace_key"), '')
) AS s
ON t."i""d" = s."i""d"
WHEN MATCHED AND t."_tailrace_seq" COLLATE "C" >= s."_tailrace_seq" THEN DO NOTHING
WHEN MATCHED AND s."_tailrace_deleted" AND s."_tailrace_unchanged" IS NOT NULL AND t."_tailrace_deleted" IS TRUE THEN UPDATE SET
  "_tailrace_seq" = s."_tailrace_seq",
  "_tailrace_commit_ts" = s."_tailrace_commit_ts",
  "_tailrace_merged_ts" = now()
WHEN MATCHED THEN UPDATE SET
  "größe in m'" = CASE WHEN 2 = ANY (s."_tailrace_unchanged") THEN t."größe in m'" ELSE s."größe in m'" END,
  "_tailrace_seq" = s."_tailrace_seq",
  "_tailrace_commit_ts" = s."_tailrace_commit_ts",
  "_tailrace_merged_ts" = now(),
  "_tailrace_deleted" = s."_tailrace_deleted"
WHEN NOT MATCHED AND s."_tailrace_deleted" AND s."_tailrace_unchanged" IS NOT NULL THEN INSERT ("i""d", "größe in m'", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts", "_tailrace_deleted")
  VALUES (s."i""d", NULL, s."_tailrace_seq", s."_tailrace_commit_ts", now(), s."_tailrace_deleted")
WHEN NOT MATCHED THEN INSERT ("i""d", "größe in m'", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts", "_tailrace_deleted")
  VALUES (s."i""d", s."größe in m'", s."_tailrace_seq", s."_tailrace_commit_ts", now(), s."_tailrace_deleted");

DELETE FROM _tailrace.tombstones WHERE ctid = ANY (ARRAY(
  SELECT (SELECT d.ctid FROM _tailrace.tombstones d WHERE d.target_schema = 'we"ird' AND d.target_name = 'o''rders 表' AND d.key = s."_tailrace_key" AND d.sequence < s."_tailrace_seq")
  FROM pg_temp."tailrace_staged" s WHERE NOT s."_tailrace_deleted"));
