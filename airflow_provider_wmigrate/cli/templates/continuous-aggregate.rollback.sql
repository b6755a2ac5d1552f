-- Undoes {stem}.sql. Its policy goes with it.

DROP MATERIALIZED VIEW {view};
