DELETE FROM warehouse."analytics"."orders" t WHERE (t."_tailrace_seq" IS NULL OR t."_tailrace_seq" < '0001-00000000016b3748-000000000002');

DELETE FROM warehouse._tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000002';

INSERT INTO warehouse._tailrace.floors SELECT 'analytics', 'orders', '0001-00000000016b3748-000000000002'
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(sequence, excluded.sequence);

UPDATE warehouse."analytics"."orders" t SET "_tailrace_deleted" = true, "_tailrace_seq" = '0001-00000000016b3748-000000000002', "_tailrace_merged_ts" = now()
WHERE (t."_tailrace_seq" IS NULL OR t."_tailrace_seq" < '0001-00000000016b3748-000000000002') AND t."_tailrace_deleted" IS NOT TRUE
  AND NOT EXISTS (SELECT 1 FROM temp.tailrace_staged s WHERE s."_tailrace_deleted" AND s."_tailrace_seq" <= '0001-00000000016b3748-000000000002' AND t."id" = s."id");

DELETE FROM warehouse._tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000002';

INSERT INTO warehouse._tailrace.floors SELECT 'analytics', 'orders', '0001-00000000016b3748-000000000002'
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(sequence, excluded.sequence);
