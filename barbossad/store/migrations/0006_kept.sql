-- What expressions read of the attempts of a task that a retry took over: the attempts are rows of the earlier run.
BEGIN;
ALTER TABLE tasks ADD COLUMN kept_attempts INTEGER;
ALTER TABLE tasks ADD COLUMN kept_exit_code INTEGER;
PRAGMA user_version = 6;
COMMIT;
