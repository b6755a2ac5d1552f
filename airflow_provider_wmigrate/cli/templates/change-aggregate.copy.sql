DO $do$
DECLARE
    keys CONSTANT text[] := ARRAY[{keys}];
    key_list CONSTANT text := (SELECT string_agg(quote_ident(key), ', ') FROM unnest(keys) AS key);
    old_table CONSTANT regclass := {stored};
    new_table CONSTANT regclass := {filled};
    cutoff {type};
    shared text;
    wrong bigint;
BEGIN
    -- No refresh writes meanwhile. Writers of the raw rows go on.
    EXECUTE format('LOCK TABLE %s, %s IN SHARE ROW EXCLUSIVE MODE', old_table, new_table);

    -- Before the cutoff the raw rows of a bucket are gone, in whole or in part.
{cutoff}
    cutoff := coalesce(cutoff, 'infinity');

    EXECUTE format('DELETE FROM %s WHERE {bucket} < $1', new_table) USING cutoff;
    -- The columns that both have. A new one is NULL before the cutoff: not known.
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO STRICT shared
    FROM pg_attribute AS new_column
    WHERE attrelid = {newtext}::regclass AND attnum > 0 AND NOT attisdropped
        AND EXISTS (
            SELECT FROM pg_attribute AS old_column
            WHERE old_column.attrelid = {oldtext}::regclass AND NOT old_column.attisdropped
                AND old_column.attname = new_column.attname
        );
    EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM {name} WHERE {bucket} < $1', new_table, shared) USING cutoff;

    EXECUTE format(
        'SELECT count(*) FROM (SELECT %1$s FROM {name} EXCEPT SELECT %1$s FROM {new}) AS missing', key_list) INTO wrong;
    IF wrong > 0 THEN
        RAISE EXCEPTION '% buckets of {name} would be missing', wrong
            USING HINT = 'Those that were closed since the filling: refresh {new} from the first of them on.';
    END IF;
    EXECUTE format(
        'SELECT count(*) FROM (SELECT FROM %2$s GROUP BY %1$s HAVING count(*) > 1) AS twice', key_list, new_table)
        INTO wrong;
    IF wrong > 0 THEN
        RAISE EXCEPTION '% buckets of {new} would be there twice', wrong;
    END IF;
END;
$do$;
