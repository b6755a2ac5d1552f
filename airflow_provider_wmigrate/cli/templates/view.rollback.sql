-- Undoes {stem}.sql. If the view was there before, put its older definition here instead.

DROP VIEW {view};
