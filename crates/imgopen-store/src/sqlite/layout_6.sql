-- Services of several processes: what owners say of themselves, and what is measured by the database's clock.

-- How long the lease lasts from each sign of life, in milliseconds.
ALTER TABLE owners ADD COLUMN lease INTEGER;
ALTER TABLE owners ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE owners ADD COLUMN role TEXT NOT NULL DEFAULT '';
ALTER TABLE owners ADD COLUMN started_at INTEGER NOT NULL DEFAULT 0;
-- What the process can run, as JSON.
ALTER TABLE owners ADD COLUMN offers TEXT NOT NULL DEFAULT 'null';
-- Whether it is to end its runs and to begin no others.
ALTER TABLE owners ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;

-- When the current run was claimed, by the database's clock.
ALTER TABLE tasks ADD COLUMN claimed_at INTEGER;

-- The claim of the attempt in progress, the process that has it, and until when by the database's clock.
ALTER TABLE callbacks ADD COLUMN claim TEXT;
ALTER TABLE callbacks ADD COLUMN claimed_by TEXT;
ALTER TABLE callbacks ADD COLUMN claimed_until INTEGER;
CREATE INDEX callbacks_claimed ON callbacks (claimed_until) WHERE claim IS NOT NULL;

-- What one process does for all, who has it, and until when by the database's clock.
CREATE TABLE duties (
    name            TEXT PRIMARY KEY,
    owner           TEXT NOT NULL,
    until           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
