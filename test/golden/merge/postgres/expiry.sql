DELETE FROM _tailrace.tombstones WHERE ctid = ANY (ARRAY(
  SELECT d.ctid FROM _tailrace.tombstones d WHERE d.target_schema = 'analytics' AND d.target_name = 'orders' AND d.sequence < '0001-00000000016b3748-000000000000' LIMIT 100000));
