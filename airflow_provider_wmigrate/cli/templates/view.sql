-- {title}
-- Replacing a view keeps its grants and whatever depends on it. Columns may only be added, at the end.

CREATE OR REPLACE VIEW {view} AS
SELECT *
FROM {table};

COMMENT ON VIEW {view} IS '{description}';
