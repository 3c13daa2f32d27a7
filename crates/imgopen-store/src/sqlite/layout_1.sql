-- The first layout. Moments are milliseconds since the Unix epoch.

-- Who may call.
CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    secret_hash     BLOB NOT NULL,      -- SHA-256; a secret has 256 random bits, so no slow hash is needed
    signing_secret  TEXT NOT NULL,      -- of the callbacks; needed as it is, to sign with
    created_at      INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;

-- What was accepted, where it stands and how it ended. A queued row is its own queue entry.
CREATE TABLE tasks (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of acceptance
    id              TEXT NOT NULL UNIQUE,
    key_id          TEXT NOT NULL,
    operation       TEXT NOT NULL,
    caller_id       TEXT NOT NULL,
    request         TEXT NOT NULL,      -- in canonical form
    directives      TEXT,               -- orders to the sandbox, if it shall run there
    callback_url    TEXT,
    state           TEXT NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,         -- runs begun
    output          TEXT,               -- the result, as JSON
    failure         TEXT,               -- why it ended without one
    engine          TEXT,
    grade           TEXT,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    finished_at     INTEGER
) STRICT;
CREATE INDEX tasks_by_caller ON tasks (key_id, caller_id, seq);
CREATE INDEX tasks_by_key ON tasks (key_id, seq);
CREATE INDEX tasks_queued ON tasks (key_id, seq) WHERE state = 'queued';
CREATE INDEX tasks_running ON tasks (seq) WHERE state = 'running';
-- Only of trainings is the caller's id published as unique.
CREATE UNIQUE INDEX tasks_training ON tasks (key_id, caller_id) WHERE operation = 'submit_training';

-- Answers to submits with an Idempotency-Key.
CREATE TABLE idempotency (
    key_id          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    task_id         TEXT NOT NULL,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_end ON idempotency (expires_at);

-- Pictures. A file without a row is a leftover.
CREATE TABLE assets (
    token           TEXT PRIMARY KEY,
    task_id         TEXT NOT NULL,
    media_type      TEXT NOT NULL,
    bytes           INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    deleted_at      INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX assets_by_end ON assets (expires_at) WHERE deleted_at IS NULL;

-- What is to be pushed.
CREATE TABLE callbacks (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    task_id         TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    url             TEXT NOT NULL,
    origin          TEXT NOT NULL,      -- scheme, host and port of the address
    body            TEXT NOT NULL,
    state           TEXT NOT NULL,
    rung            INTEGER NOT NULL DEFAULT 0,         -- tries since it was last set going
    next_at         INTEGER,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX callbacks_due ON callbacks (next_at) WHERE state = 'pending';
CREATE INDEX callbacks_by_key ON callbacks (key_id, seq);
CREATE INDEX callbacks_by_task ON callbacks (task_id);

-- Every try to push.
CREATE TABLE callback_tries (
    callback_id     TEXT NOT NULL REFERENCES callbacks (id),
    number          INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    http_status     INTEGER,
    outcome         TEXT NOT NULL,
    PRIMARY KEY (callback_id, number)
) STRICT, WITHOUT ROWID;
