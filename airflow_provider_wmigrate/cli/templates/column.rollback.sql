-- Undoes {stem}.sql. The values go with the column.

ALTER TABLE {table} DROP COLUMN {column};
