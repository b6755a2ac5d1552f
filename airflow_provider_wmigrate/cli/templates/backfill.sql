-- {title}
-- In batches, each committed on its own: no row stays locked for longer than its batch, and what is done is kept.
-- Declared `transactional: false`, without which COMMIT would be refused, and `repeatable: true`: stopped half way, it is
-- run again by itself and goes on, since only rows that still need it are chosen.

DO $$
DECLARE
    changed bigint;
BEGIN
    LOOP
        UPDATE {table}
        SET {column} = {expression}
        WHERE {key} IN (
            SELECT {key} FROM {table} WHERE {column} IS NULL AND {expression} IS NOT NULL
            LIMIT {batch} FOR UPDATE SKIP LOCKED
        );
        GET DIAGNOSTICS changed = ROW_COUNT;
        EXIT WHEN changed = 0;
        COMMIT;
        RAISE NOTICE '% rows', changed;
    END LOOP;
END
$$;

-- Rows that others held are skipped above: here they are waited for.
UPDATE {table} SET {column} = {expression} WHERE {column} IS NULL AND {expression} IS NOT NULL;
