DELETE FROM "analytics"."orders" t WHERE (t."_tailrace_seq" IS NULL OR t."_tailrace_seq" COLLATE "C" < '0001-00000000016b3748-000000000000');

DELETE FROM _tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000000';

INSERT INTO _tailrace.floors AS f (target_schema, target_name, sequence)
VALUES ('analytics', 'orders', '0001-00000000016b3748-000000000000')
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(f.sequence, excluded.sequence);

UPDATE "analytics"."orders" t SET "_tailrace_deleted" = true, "_tailrace_seq" = '0001-00000000016b3748-000000000000', "_tailrace_merged_ts" = now()
WHERE (t."_tailrace_seq" IS NULL OR t."_tailrace_seq" COLLATE "C" < '0001-00000000016b3748-000000000000') AND t."_tailrace_deleted" IS NOT TRUE;

DELETE FROM _tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000000';

INSERT INTO _tailrace.floors AS f (target_schema, target_name, sequence)
VALUES ('analytics', 'orders', '0001-00000000016b3748-000000000000')
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(f.sequence, excluded.sequence);
