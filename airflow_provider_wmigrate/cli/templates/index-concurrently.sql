-- {title}
-- Runs outside a transaction and lets others read and write meanwhile. A build that fails leaves an invalid index; the
-- next run drops it and builds it again.

CREATE INDEX CONCURRENTLY {index} ON {table} ({column});
