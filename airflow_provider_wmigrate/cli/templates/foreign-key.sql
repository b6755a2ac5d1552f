-- {title}
-- The key holds for new rows at once; the rows that are there are looked at afterwards, while others read and write.
-- Declared `transactional: false`, so that the first lock does not last as long as the look at the rows.

ALTER TABLE {table}
    ADD CONSTRAINT {constraint} FOREIGN KEY ({column}) REFERENCES {references} NOT VALID;

ALTER TABLE {table} VALIDATE CONSTRAINT {constraint};
