-- Undoes {stem}.sql, also when it was left half done.

ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;

ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint};
