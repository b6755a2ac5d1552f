-- {title}
-- The check is added without looking at the rows, then the rows are looked at while others read and write, and
-- SET NOT NULL takes the validated check for its proof: no scan happens under the strongest lock.
-- Declared `transactional: false`, so that each statement has a transaction of its own. Left half done, the next run
-- goes on where it stopped; rows that are NULL make VALIDATE fail: fill them first (template backfill).

ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({column} IS NOT NULL) NOT VALID;

ALTER TABLE {table} VALIDATE CONSTRAINT {constraint};

ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;

ALTER TABLE {table} DROP CONSTRAINT {constraint};
