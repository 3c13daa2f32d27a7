-- What survives faults of the machine, and what a clock or a key may do.

-- How many runs were handed back because of a fault of the server, and when the first was.
ALTER TABLE tasks ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN deferred_since INTEGER;
-- How often the process died while this was its only run: nothing else can have ended it.
ALTER TABLE tasks ADD COLUMN crashes_alone INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_queued;
CREATE INDEX tasks_queued ON tasks (needs, key_id, deferrals, seq) WHERE state = 'queued';

-- Single values of the service, by name: what it has seen and checked last.
CREATE TABLE notes (
    name            TEXT PRIMARY KEY,
    value           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
