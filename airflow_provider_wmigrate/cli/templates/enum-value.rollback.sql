-- Undoes {stem}.sql
-- PostgreSQL cannot take a value out of a type. While nothing uses it, it does no harm and stays; where a row does,
-- this stops, because the rows must be changed first. Name every column of that type here.

DO $$
BEGIN
    IF EXISTS (SELECT FROM {table} WHERE {column}::text = '{value}') THEN
        RAISE EXCEPTION '{value} is used in {table}.{column}'
            USING HINT = 'change these rows first';
    END IF;
END
$$;
