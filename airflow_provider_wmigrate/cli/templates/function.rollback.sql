-- Undoes {stem}.sql. If the function was there before, put its older definition here instead.

DROP FUNCTION {function}({arguments});
