-- {title}
-- Replacing a function keeps its grants and whatever depends on it. Arguments and result must stay the same.

CREATE OR REPLACE FUNCTION {function}({arguments}) RETURNS {returns}
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT {body}
$$;
