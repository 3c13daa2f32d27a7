-- What survives faults of the machine, and what a clock or a key may do.

-- Runs that were handed back because of a fault of the server, and since when without a run that got further.
ALTER TABLE tasks ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN deferred_since INTEGER;
-- Whether no other task ran in this process during the run: only such a run proves that its task ends the process.
ALTER TABLE tasks ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_queued;
CREATE INDEX tasks_queued ON tasks (needs, key_id, deferrals, seq) WHERE state = 'queued';

-- Single values of the service, by name: what it has seen and checked last.
CREATE TABLE notes (
    name            TEXT PRIMARY KEY,
    value           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Files of assets that were marked as deleted, until the files themselves are.
CREATE TABLE expired_files (
    token           TEXT PRIMARY KEY,
    since           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- A process that was killed between the mark and the deletion left the file.
INSERT INTO expired_files (token, since) SELECT token, deleted_at FROM assets WHERE deleted_at IS NOT NULL;
