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

-- The bytes of all assets that have a file, kept with every change, so that reading it costs nothing.
INSERT INTO notes (name, value) SELECT 'asset_bytes', coalesce(sum(bytes), 0) FROM assets WHERE deleted_at IS NULL;
CREATE TRIGGER asset_added AFTER INSERT ON assets WHEN NEW.deleted_at IS NULL BEGIN
    UPDATE notes SET value = value + NEW.bytes WHERE name = 'asset_bytes';
END;
CREATE TRIGGER asset_changed AFTER UPDATE OF bytes, deleted_at ON assets BEGIN
    UPDATE notes SET value = value + iif(NEW.deleted_at IS NULL, NEW.bytes, 0) - iif(OLD.deleted_at IS NULL, OLD.bytes, 0)
        WHERE name = 'asset_bytes';
END;
CREATE TRIGGER asset_removed AFTER DELETE ON assets WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE notes SET value = value - OLD.bytes WHERE name = 'asset_bytes';
END;
