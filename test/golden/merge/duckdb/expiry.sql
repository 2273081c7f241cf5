DELETE FROM warehouse._tailrace.tombstones WHERE rowid IN (
  SELECT rowid FROM warehouse._tailrace.tombstones WHERE target_schema = 'analytics' AND target_name = 'orders' AND sequence < '0001-00000000016b3748-000000000000' LIMIT 100000);
