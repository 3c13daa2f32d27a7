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

-- The pause in milliseconds that the next delivery attempt waits for, so that a clock that is put back does not prolong it.
ALTER TABLE callbacks ADD COLUMN pause INTEGER;
-- How often a callback was started: when its task ended, and by every redelivery. Guards what an attempt records.
ALTER TABLE callbacks ADD COLUMN starts INTEGER NOT NULL DEFAULT 1;
-- Attempts that a fault of the server prevented since the last one that counts, and since when.
ALTER TABLE callbacks ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE callbacks ADD COLUMN deferred_since INTEGER;
DROP INDEX callbacks_due;
CREATE INDEX callbacks_due ON callbacks (next_at, pause) WHERE state = 'pending';
-- First and repeated attempts, each by key and origin, which take turns.
CREATE INDEX callbacks_first ON callbacks (key_id, origin, next_at) WHERE state = 'pending' AND rung = 0;
CREATE INDEX callbacks_again ON callbacks (key_id, origin, next_at) WHERE state = 'pending' AND rung > 0;
CREATE INDEX callbacks_again_due ON callbacks (key_id, next_at) WHERE state = 'pending' AND rung > 0;

-- Signing secrets that were replaced and are still signed with, as JSON: [{"secret": "whsec_...", "until": 1769904000000}].
ALTER TABLE keys ADD COLUMN previous_secrets TEXT NOT NULL DEFAULT '[]';

-- Rows of tasks are deleted by age, with what belongs to them.
CREATE INDEX tasks_ended ON tasks (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX assets_by_task ON assets (task_id);
CREATE INDEX idempotency_by_task ON idempotency (task_id);
