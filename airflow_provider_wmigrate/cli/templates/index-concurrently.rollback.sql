-- Undoes {stem}.sql

DROP INDEX CONCURRENTLY IF EXISTS {index};
