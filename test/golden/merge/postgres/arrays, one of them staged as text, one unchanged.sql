CREATE TEMP TABLE "tailrace_staged" ON COMMIT DELETE ROWS AS
SELECT
  NULL::bigint AS "id",
  NULL::text[] AS "addresses",
  t."tags",
  ''::text COLLATE "C" AS "_tailrace_seq",
  now() AS "_tailrace_commit_ts",
  false AS "_tailrace_deleted",
  ''::bytea AS "_tailrace_key",
  0 AS "_tailrace_row",
  NULL::smallint[] AS "_tailrace_unchanged"
FROM "analytics"."orders" t
WITH NO DATA;

COPY pg_temp."tailrace_staged" ("id", "addresses", "tags", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_deleted", "_tailrace_key", "_tailrace_row", "_tailrace_unchanged") FROM STDIN (FORMAT binary);

DELETE FROM pg_temp."tailrace_staged" s
WHERE s."_tailrace_unchanged" IS NOT NULL
  AND NOT s."_tailrace_deleted"
  AND s."_tailrace_seq" > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE f.target_schema = 'analytics' AND f.target_name = 'orders'), '')
  AND s."_tailrace_seq" > coalesce((SELECT d.sequence FROM _tailrace.tombstones d WHERE d.target_schema = 'analytics' AND d.target_name = 'orders' AND d.key = s."_tailrace_key"), '')
  AND NOT EXISTS (SELECT FROM "analytics"."orders" t WHERE t."id" = s."id")
RETURNING s."_tailrace_row" AS "row";

MERGE INTO "analytics"."orders" AS t
USING (
  SELECT
    s."id", s."addresses"::inet[] AS "addresses", s."tags", s."_tailrace_seq", s."_tailrace_commit_ts", s."_tailrace_deleted", s."_tailrace_unchanged"
  FROM pg_temp."tailrace_staged" s
  WHERE s."_tailrace_seq" > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE f.target_schema = 'analytics' AND f.target_name = 'orders'), '')
    AND s."_tailrace_seq" > coalesce((SELECT d.sequence FROM _tailrace.tombstones d WHERE d.target_schema = 'analytics' AND d.target_name = 'orders' AND d.key = s."_tailrace_key"), '')
) AS s
ON t."id" = s."id"
WHEN MATCHED AND t."_tailrace_seq" COLLATE "C" >= s."_tailrace_seq" THEN DO NOTHING
WHEN MATCHED AND s."_tailrace_deleted" THEN DELETE
WHEN MATCHED THEN UPDATE SET
  "addresses" = s."addresses",
  "tags" = CASE WHEN 3 = ANY (s."_tailrace_unchanged") THEN t."tags" ELSE s."tags" END,
  "_tailrace_seq" = s."_tailrace_seq",
  "_tailrace_commit_ts" = s."_tailrace_commit_ts",
  "_tailrace_merged_ts" = now()
WHEN NOT MATCHED AND NOT s."_tailrace_deleted" THEN INSERT ("id", "addresses", "tags", "_tailrace_seq", "_tailrace_commit_ts", "_tailrace_merged_ts")
  VALUES (s."id", s."addresses", s."tags", s."_tailrace_seq", s."_tailrace_commit_ts", now());

DELETE FROM _tailrace.tombstones WHERE ctid = ANY (ARRAY(
  SELECT (SELECT d.ctid FROM _tailrace.tombstones d WHERE d.target_schema = 'analytics' AND d.target_name = 'orders' AND d.key = s."_tailrace_key" AND d.sequence < s."_tailrace_seq")
  FROM pg_temp."tailrace_staged" s WHERE NOT s."_tailrace_deleted"));

INSERT INTO _tailrace.tombstones AS d (target_schema, target_name, key, sequence)
SELECT 'analytics', 'orders', s."_tailrace_key", s."_tailrace_seq"
FROM pg_temp."tailrace_staged" s
WHERE s."_tailrace_deleted"
  AND s."_tailrace_seq" > coalesce((SELECT f.sequence FROM _tailrace.floors f WHERE f.target_schema = 'analytics' AND f.target_name = 'orders'), '')
  AND NOT EXISTS (SELECT FROM "analytics"."orders" t WHERE t."id" = s."id")
ON CONFLICT (target_schema, target_name, key) DO UPDATE SET sequence = excluded.sequence WHERE d.sequence < excluded.sequence;
