-- {title}
-- Without a default, or with a constant one, no row is rewritten: the lock is held for a moment only.

ALTER TABLE {table} ADD COLUMN {column} {type};
