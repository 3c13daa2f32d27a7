-- The first layout. Moments are milliseconds since the Unix epoch. Text that is compared or ordered has the collation "C", so
-- that the order does not depend on the server's locale and indexes survive its updates.

-- The version of the layout, and the oldest one whose programs can use it as it is now. One row.
CREATE TABLE layout (
    version         bigint NOT NULL,
    since_version   bigint NOT NULL
);
INSERT INTO layout (version, since_version) VALUES (0, 0);

-- The database's clock: leases never compare the clocks of two machines. It stands still during a statement, so that one that
-- waited for a lock judges by the time before.
CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql STABLE
    AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint $$;

-- The hash of a text that callers choose, for indexes, whose entries have a largest size. The database's encoding is UTF-8, so
-- that the same text always has the same bytes.
CREATE FUNCTION text_digest(value text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT sha256(convert_to(value, 'UTF8')) $$;

-- Access keys: who may call.
CREATE TABLE keys (
    id               text COLLATE "C" PRIMARY KEY,
    name             text NOT NULL,
    secret_hash      bytea NOT NULL,        -- SHA-256; a secret has 256 random bits, so no slow hash is needed
    signing_secret   text NOT NULL,         -- of the callbacks; needed as it is, to sign with
    previous_secrets text NOT NULL DEFAULT '[]',    -- replaced ones that are still signed with, as JSON
    created_at       bigint NOT NULL,
    revoked_at       bigint
);

-- What was accepted, where it stands and how it ended. A queued row is its own queue entry.
CREATE TABLE tasks (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,    -- order of acceptance
    id              text COLLATE "C" NOT NULL UNIQUE,
    key_id          text COLLATE "C" NOT NULL,
    operation       text COLLATE "C" NOT NULL,
    needs           text COLLATE "C" NOT NULL,      -- what a worker must be able to do
    caller_id       text COLLATE "C" NOT NULL,
    unique_id       boolean NOT NULL DEFAULT false, -- whether the caller's id is unique among the key's tasks of the operation
    request         text NOT NULL,                  -- in canonical form
    options         text,                           -- what travels with a task beside its request, as JSON
    plan            text,                           -- what was worked out at submit for the run, as JSON
    reserves        text COLLATE "C",               -- a name that no two active tasks may have
    callback_url    text,
    state           text COLLATE "C" NOT NULL DEFAULT 'queued',
    attempt         bigint NOT NULL DEFAULT 0,      -- runs that count
    run             text COLLATE "C",               -- the current run, or the last one if the task has ended
    owner           text COLLATE "C",               -- the process that it belongs to
    output          text,                           -- the result, as JSON
    failure         text,                           -- why it ended without one
    engine          text,
    grade           text,
    created_at      bigint NOT NULL,
    started_at      bigint,
    finished_at     bigint,
    deferrals       bigint NOT NULL DEFAULT 0,      -- runs that were handed back because of a fault of the server
    deferred_at     bigint,                         -- when the last was
    deferred_for    bigint NOT NULL DEFAULT 0,      -- how many milliseconds of faults the task had met by then
    crashes_alone   bigint NOT NULL DEFAULT 0,      -- how often the process died while this was its only run
    claimed_at      bigint                          -- when the current run was claimed, by the database's clock
) WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_limit = 2000
);
CREATE INDEX tasks_by_caller ON tasks (key_id, text_digest(caller_id), seq);
CREATE INDEX tasks_by_key ON tasks (key_id, seq);
-- A task whose run was handed back lets some later ones go first, but not all.
CREATE INDEX tasks_queued ON tasks (text_digest(needs), key_id, (seq + 64 * deferrals)) WHERE state = 'queued';
CREATE INDEX tasks_queued_by_key ON tasks (key_id) WHERE state = 'queued';
CREATE INDEX tasks_running ON tasks (owner) WHERE state = 'running';
CREATE INDEX tasks_running_by_key ON tasks (key_id) WHERE state = 'running';
-- A run is that of one task, also if a claim is repeated whose answer was lost.
CREATE UNIQUE INDEX tasks_by_run ON tasks (run) WHERE run IS NOT NULL;
CREATE INDEX tasks_ended ON tasks (finished_at, seq) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX tasks_unique ON tasks (key_id, operation, text_digest(caller_id)) WHERE unique_id;
CREATE UNIQUE INDEX tasks_reserved ON tasks (text_digest(reserves))
    WHERE reserves IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX tasks_made ON tasks (text_digest(reserves)) WHERE reserves IS NOT NULL AND state = 'succeeded';

-- Numbers of offers.
CREATE SEQUENCE offers_numbers;

-- Processes that run tasks. One without a lease lives until another takes over.
CREATE TABLE owners (
    id              text COLLATE "C" PRIMARY KEY,
    lease           bigint,                         -- how many milliseconds it lasts from each sign of life
    lease_until     bigint,                         -- by the database's clock
    host            text NOT NULL DEFAULT '',
    role            text NOT NULL DEFAULT '',
    started_at      bigint NOT NULL DEFAULT now_ms(),
    offers          text NOT NULL DEFAULT 'null',   -- what the process can run, as JSON
    offers_number   bigint NOT NULL DEFAULT nextval('offers_numbers'),  -- another one whenever they change
    draining        boolean NOT NULL DEFAULT false  -- whether it is to end its runs and to begin no others
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- The progress of runs, as of the last sign of life of their owners. It need not survive a crash of the server.
CREATE UNLOGGED TABLE live (
    task_id         text COLLATE "C" PRIMARY KEY,
    run             text COLLATE "C" NOT NULL,
    percent         float8 NOT NULL,
    step            bigint NOT NULL,
    steps           bigint NOT NULL,
    engine          text,
    grade           text,
    preview         text COLLATE "C",               -- the name under which the latest intermediate picture is kept
    reported_at     bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- Tasks whose previews somebody waits for, until when by the database's clock.
CREATE UNLOGGED TABLE watched (
    task_id         text COLLATE "C" PRIMARY KEY,
    until           bigint NOT NULL
) WITH (fillfactor = 50);

-- What one process does for all, who has it, and until when by the database's clock.
CREATE TABLE duties (
    name            text COLLATE "C" PRIMARY KEY,
    owner           text COLLATE "C" NOT NULL,
    until           bigint NOT NULL
);

-- Runs that ended without their files being accounted for. A file is deleted only if its name begins with one of these.
CREATE TABLE orphaned_runs (
    run             text COLLATE "C" PRIMARY KEY,
    since           bigint NOT NULL
);
CREATE INDEX orphaned_runs_by_age ON orphaned_runs (since, run);

-- Answers to submits with an Idempotency-Key.
CREATE TABLE idempotency (
    key_id          text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    task_id         text COLLATE "C" NOT NULL,
    expires_at      bigint NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
);
CREATE INDEX idempotency_by_end ON idempotency (expires_at);
CREATE INDEX idempotency_by_task ON idempotency (task_id);

-- Stored results. A file without a row is an orphan.
CREATE TABLE assets (
    token           text COLLATE "C" PRIMARY KEY,
    task_id         text COLLATE "C" NOT NULL,
    key_id          text COLLATE "C" NOT NULL,      -- of its task
    media_type      text NOT NULL,
    bytes           bigint NOT NULL,
    created_at      bigint NOT NULL,
    expires_at      bigint,
    deleted_at      bigint,
    name            text                            -- for those who download it; NULL for pictures
);
CREATE INDEX assets_by_end ON assets (expires_at) WHERE deleted_at IS NULL;
CREATE INDEX assets_by_task ON assets (task_id);

-- Files of assets that were marked as deleted, until the files themselves are.
CREATE TABLE expired_files (
    token           text COLLATE "C" PRIMARY KEY,
    since           bigint NOT NULL
);

-- The bytes of the assets that have a file, by key, kept with every change, so that reading them costs nothing. The bytes of a
-- key are in several rows, of which a connection changes one, so that the ends of a key's tasks do not wait for each other.
CREATE TABLE kept_bytes (
    key_id          text COLLATE "C" NOT NULL,
    slot            int NOT NULL,
    bytes           bigint NOT NULL,
    PRIMARY KEY (key_id, slot)
) WITH (fillfactor = 50);

CREATE FUNCTION count_added_assets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO kept_bytes (key_id, slot, bytes)
        SELECT key_id, pg_backend_pid() % 16, sum(bytes) FROM added WHERE deleted_at IS NULL GROUP BY key_id ORDER BY key_id
        ON CONFLICT (key_id, slot) DO UPDATE SET bytes = kept_bytes.bytes + excluded.bytes;
    RETURN NULL;
END $$;
CREATE FUNCTION count_removed_assets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO kept_bytes (key_id, slot, bytes)
        SELECT key_id, pg_backend_pid() % 16, -sum(bytes) FROM removed WHERE deleted_at IS NULL GROUP BY key_id ORDER BY key_id
        ON CONFLICT (key_id, slot) DO UPDATE SET bytes = kept_bytes.bytes + excluded.bytes;
    RETURN NULL;
END $$;
CREATE FUNCTION count_changed_assets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO kept_bytes (key_id, slot, bytes)
        SELECT key_id, pg_backend_pid() % 16, sum(change) FROM (
            SELECT key_id, bytes AS change FROM added WHERE deleted_at IS NULL
            UNION ALL SELECT key_id, -bytes FROM removed WHERE deleted_at IS NULL) changes
        GROUP BY key_id HAVING sum(change) <> 0 ORDER BY key_id
        ON CONFLICT (key_id, slot) DO UPDATE SET bytes = kept_bytes.bytes + excluded.bytes;
    RETURN NULL;
END $$;
CREATE TRIGGER assets_added AFTER INSERT ON assets REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_added_assets();
CREATE TRIGGER assets_removed AFTER DELETE ON assets REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION count_removed_assets();
CREATE TRIGGER assets_changed AFTER UPDATE ON assets REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_assets();

-- What is to be pushed.
CREATE TABLE callbacks (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              text COLLATE "C" NOT NULL UNIQUE,
    task_id         text COLLATE "C" NOT NULL,
    key_id          text COLLATE "C" NOT NULL,
    url             text NOT NULL,
    origin          text COLLATE "C" NOT NULL,      -- scheme, host and port of the address
    body            text NOT NULL,
    state           text COLLATE "C" NOT NULL,
    starts          bigint NOT NULL DEFAULT 1,      -- how often it was started; guards what an attempt records
    rung            bigint NOT NULL DEFAULT 0,      -- attempts since it was last started
    tries           bigint NOT NULL DEFAULT 0,      -- attempts in all, which numbers them
    deferrals       bigint NOT NULL DEFAULT 0,      -- attempts that a fault of the server prevented since the last that counts
    deferred_at     bigint,                         -- when the last was
    deferred_for    bigint NOT NULL DEFAULT 0,      -- for how many milliseconds they had been prevented by then
    next_at         bigint,
    pause           bigint,                         -- the pause in milliseconds that the next attempt waits for
    claim           text COLLATE "C",               -- the claim of the attempt in progress
    claimed_by      text COLLATE "C",               -- the process that has it
    claimed_until   bigint,                         -- until when, by the database's clock
    created_at      bigint NOT NULL
) WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_limit = 2000
);
CREATE INDEX callbacks_due ON callbacks (next_at, pause) WHERE state = 'pending';
CREATE INDEX callbacks_claimed ON callbacks (claimed_until) WHERE claim IS NOT NULL;
CREATE INDEX callbacks_by_key ON callbacks (key_id, seq);
CREATE INDEX callbacks_by_task ON callbacks (task_id, seq);
-- First and repeated attempts, each by key and origin, which take turns.
CREATE INDEX callbacks_first ON callbacks (key_id, origin, next_at, seq) WHERE state = 'pending' AND rung = 0;
CREATE INDEX callbacks_again ON callbacks (key_id, origin, next_at, seq) WHERE state = 'pending' AND rung > 0;
CREATE INDEX callbacks_again_due ON callbacks (key_id, next_at) WHERE state = 'pending' AND rung > 0;

-- Every try to push.
CREATE TABLE callback_tries (
    callback_id     text COLLATE "C" NOT NULL REFERENCES callbacks (id),
    number          bigint NOT NULL,
    started_at      bigint NOT NULL,
    duration_ms     bigint NOT NULL,
    http_status     bigint,
    outcome         text NOT NULL,
    claim           text COLLATE "C",               -- the claim that it was made under
    PRIMARY KEY (callback_id, number)
);
-- A claim is that of one attempt, also if its record is repeated because the answer was lost.
CREATE UNIQUE INDEX callback_tries_by_claim ON callback_tries (callback_id, claim) WHERE claim IS NOT NULL;

-- Single values of the service, by name: what it has seen and checked last.
CREATE TABLE notes (
    name            text COLLATE "C" PRIMARY KEY,
    value           bigint NOT NULL
);

-- A move of all rows from another database into this one. Until it is complete, no service opens this one. At most one row.
CREATE TABLE moves (
    id              text COLLATE "C" PRIMARY KEY,
    source          text NOT NULL,                  -- where the rows come from, for operators
    noted           text,                           -- where the move stands, as JSON
    completed_at    bigint
);
