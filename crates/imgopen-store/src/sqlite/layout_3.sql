-- Runs are fenced by a random id, belong to owners, and can be waited for by what they need.

-- What travels with a task beside its request, as JSON.
ALTER TABLE tasks ADD COLUMN options TEXT;
UPDATE tasks SET options = json_object('sandbox', directives) WHERE directives IS NOT NULL;

-- What a worker must be able to do: the operation, the model if the request names one, and whether it is for the sandbox.
ALTER TABLE tasks ADD COLUMN needs TEXT NOT NULL DEFAULT '';
UPDATE tasks SET needs = iif(directives IS NULL, '', 'sandbox/') || operation || coalesce(
    ':' || iif(json_valid(request), json_extract(request, '$.alwayson_scripts.sd_model_checkpoint'), NULL), '');
ALTER TABLE tasks DROP COLUMN directives;

-- What was worked out at submit for the run, as JSON.
ALTER TABLE tasks RENAME COLUMN training TO plan;

-- The current run, or the last one if the task has ended, and the process that it belongs to.
ALTER TABLE tasks ADD COLUMN run TEXT;
ALTER TABLE tasks ADD COLUMN owner TEXT;

-- Whether the caller's id is unique among the key's tasks of the operation.
ALTER TABLE tasks ADD COLUMN unique_id INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET unique_id = 1 WHERE operation = 'submit_training';
DROP INDEX tasks_training;
CREATE UNIQUE INDEX tasks_unique ON tasks (key_id, operation, caller_id) WHERE unique_id = 1;

DROP INDEX tasks_queued;
CREATE INDEX tasks_queued ON tasks (needs, key_id, seq) WHERE state = 'queued';
DROP INDEX tasks_running;
CREATE INDEX tasks_running ON tasks (owner) WHERE state = 'running';

-- Processes that run tasks. One without a lease lives until another takes over the data directory.
CREATE TABLE owners (
    id              TEXT PRIMARY KEY,
    lease_until     INTEGER
) STRICT, WITHOUT ROWID;

-- Runs that ended without their files being accounted for. A file is deleted only if its name begins with one of these.
CREATE TABLE orphaned_runs (
    run             TEXT PRIMARY KEY,
    since           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
