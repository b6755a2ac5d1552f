-- {title}, 2 of 3: fills what the raw rows allow, and marks everything before as done.
-- NULL is right here, since the aggregate is new. An old one whose raw rows are dropped would be emptied by it.

CALL refresh_continuous_aggregate({name}, NULL, {until});
