-- {title}
-- The new value cannot be used in the transaction that adds it: use it in the next migration.

ALTER TYPE {type} ADD VALUE IF NOT EXISTS '{value}';
