-- Undoes {stem}.sql, also when it was left half done.

ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint};
