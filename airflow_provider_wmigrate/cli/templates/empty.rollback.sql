-- Undoes {stem}.sql

SELECT 1;  -- write the rollback here
