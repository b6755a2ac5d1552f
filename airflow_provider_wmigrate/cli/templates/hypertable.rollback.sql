-- Undoes {stem}.sql. The rows and chunks go with the table.

DROP TABLE {table};
