-- Undoes {stem}.sql as far as that can be done: which values were filled in, and which were there before, is not known.
-- Where the column was empty before, this is right; else leave the values as they are (SELECT 1).

UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL;
