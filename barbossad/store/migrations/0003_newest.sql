-- The number of the newest run that was ever deleted with its history: numbers at or below it are never given again.
BEGIN;
CREATE TABLE newest_deleted (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    run INTEGER NOT NULL
) STRICT;
PRAGMA user_version = 3;
COMMIT;
