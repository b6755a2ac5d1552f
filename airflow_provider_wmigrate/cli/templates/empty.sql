-- {title}
-- Runs in one transaction together with its ledger entry: write no BEGIN and no COMMIT.

SELECT 1;  -- write the migration here
