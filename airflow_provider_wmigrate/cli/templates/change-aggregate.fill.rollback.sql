-- What was filled goes with the aggregate.
SELECT 'nothing to undo';
