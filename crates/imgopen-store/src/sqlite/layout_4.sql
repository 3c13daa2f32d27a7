-- What survives faults of the machine, and what a clock or a key may do.

-- How many runs were handed back because of a fault of the server, when the last was, and how many milliseconds of faults the
-- task had met by then while the service ran.
ALTER TABLE tasks ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN deferred_at INTEGER;
ALTER TABLE tasks ADD COLUMN deferred_for INTEGER NOT NULL DEFAULT 0;
-- How often the process died while this was its only run: nothing else can have ended it.
ALTER TABLE tasks ADD COLUMN crashes_alone INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_queued;
-- A task whose run was handed back lets some later ones go first, but not all.
CREATE INDEX tasks_queued ON tasks (needs, key_id, seq + 64 * deferrals) WHERE state = 'queued';

-- Single values of the service, by name: what it has seen and checked last.
CREATE TABLE notes (
    name            TEXT PRIMARY KEY,
    value           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The clock is compared with the last moment that is known, so that a wrong one deletes nothing at the first start.
INSERT INTO notes (name, value) SELECT 'last_seen', moment FROM (SELECT max(moment) AS moment FROM (
    SELECT max(created_at) AS moment FROM tasks
    UNION ALL SELECT max(started_at) FROM tasks
    UNION ALL SELECT max(finished_at) FROM tasks
    UNION ALL SELECT max(created_at) FROM keys
    UNION ALL SELECT max(created_at) FROM callbacks
    UNION ALL SELECT max(started_at) FROM callback_tries
)) WHERE moment IS NOT NULL;

-- The pause in milliseconds that the next delivery attempt waits for, so that a clock that is put back does not prolong it.
ALTER TABLE callbacks ADD COLUMN pause INTEGER;
-- How often a callback was started: when its task ended, and by every redelivery. Guards what an attempt records.
ALTER TABLE callbacks ADD COLUMN starts INTEGER NOT NULL DEFAULT 1;
-- Attempts that a fault of the server prevented since the last one that counts, when the last was, and for how many
-- milliseconds they had been prevented by then while the service ran.
ALTER TABLE callbacks ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE callbacks ADD COLUMN deferred_at INTEGER;
ALTER TABLE callbacks ADD COLUMN deferred_for INTEGER NOT NULL DEFAULT 0;
DROP INDEX callbacks_due;
CREATE INDEX callbacks_due ON callbacks (next_at, pause) WHERE state = 'pending';
-- First and repeated attempts, each by key and origin, which take turns.
CREATE INDEX callbacks_first ON callbacks (key_id, origin, next_at) WHERE state = 'pending' AND rung = 0;
CREATE INDEX callbacks_again ON callbacks (key_id, origin, next_at) WHERE state = 'pending' AND rung > 0;
CREATE INDEX callbacks_again_due ON callbacks (key_id, next_at) WHERE state = 'pending' AND rung > 0;

-- Signing secrets that were replaced and are still signed with, as JSON: [{"secret": "whsec_...", "until": 1769904000000}].
ALTER TABLE keys ADD COLUMN previous_secrets TEXT NOT NULL DEFAULT '[]';

-- Rows of tasks are deleted by age, with what belongs to them.
CREATE INDEX assets_by_task ON assets (task_id);
CREATE INDEX idempotency_by_task ON idempotency (task_id);

-- Files of assets that were marked as deleted, until the files themselves are.
CREATE TABLE expired_files (
    token           TEXT PRIMARY KEY,
    since           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- A process that was killed between the mark and the deletion left the file.
INSERT INTO expired_files (token, since) SELECT token, deleted_at FROM assets WHERE deleted_at IS NOT NULL;

-- The bytes of all assets that have a file, in all and by key, kept with every change, so that reading them costs nothing.
INSERT INTO notes (name, value) SELECT 'asset_bytes', coalesce(sum(bytes), 0) FROM assets WHERE deleted_at IS NULL;
CREATE TABLE kept_bytes (
    key_id          TEXT PRIMARY KEY,
    bytes           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO kept_bytes (key_id, bytes) SELECT tasks.key_id, sum(assets.bytes)
    FROM assets JOIN tasks ON tasks.id = assets.task_id WHERE assets.deleted_at IS NULL GROUP BY tasks.key_id;
CREATE TRIGGER asset_added AFTER INSERT ON assets WHEN NEW.deleted_at IS NULL BEGIN
    UPDATE notes SET value = value + NEW.bytes WHERE name = 'asset_bytes';
    INSERT INTO kept_bytes (key_id, bytes) SELECT key_id, NEW.bytes FROM tasks WHERE id = NEW.task_id
        ON CONFLICT (key_id) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER asset_changed AFTER UPDATE OF bytes, deleted_at ON assets BEGIN
    UPDATE notes SET value = value + iif(NEW.deleted_at IS NULL, NEW.bytes, 0) - iif(OLD.deleted_at IS NULL, OLD.bytes, 0)
        WHERE name = 'asset_bytes';
    UPDATE kept_bytes
        SET bytes = bytes + iif(NEW.deleted_at IS NULL, NEW.bytes, 0) - iif(OLD.deleted_at IS NULL, OLD.bytes, 0)
        WHERE key_id = (SELECT key_id FROM tasks WHERE id = NEW.task_id);
END;
CREATE TRIGGER asset_removed AFTER DELETE ON assets WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE notes SET value = value - OLD.bytes WHERE name = 'asset_bytes';
    UPDATE kept_bytes SET bytes = bytes - OLD.bytes WHERE key_id = (SELECT key_id FROM tasks WHERE id = OLD.task_id);
END;
