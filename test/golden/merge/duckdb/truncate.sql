DELETE FROM warehouse."analytics"."orders" WHERE ("_tailrace_seq" IS NULL OR "_tailrace_seq" < '0001-00000000016b3748-000000000002');

DELETE FROM warehouse._tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000002';

INSERT INTO warehouse._tailrace.floors SELECT 'analytics', 'orders', '0001-00000000016b3748-000000000002'
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(sequence, excluded.sequence);

UPDATE warehouse."analytics"."orders" SET "_tailrace_deleted" = true, "_tailrace_seq" = '0001-00000000016b3748-000000000002', "_tailrace_merged_ts" = now() WHERE ("_tailrace_seq" IS NULL OR "_tailrace_seq" < '0001-00000000016b3748-000000000002') AND "_tailrace_deleted" IS NOT TRUE;

DELETE FROM warehouse._tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000002';

INSERT INTO warehouse._tailrace.floors SELECT 'analytics', 'orders', '0001-00000000016b3748-000000000002'
ON CONFLICT (target_schema, target_name) DO UPDATE SET sequence = greatest(sequence, excluded.sequence);
