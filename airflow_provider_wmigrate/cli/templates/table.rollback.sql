-- Undoes {stem}.sql. The rows go with the table.

DROP TABLE {table};
