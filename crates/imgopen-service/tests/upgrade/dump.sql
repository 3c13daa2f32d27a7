BEGIN TRANSACTION;
CREATE TABLE assets (
    token           TEXT PRIMARY KEY,
    task_id         TEXT NOT NULL,
    media_type      TEXT NOT NULL,
    bytes           INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    deleted_at      INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "assets" VALUES('bdc87fbeb21604ac974c46e07eb425d1c02eb567.png','img1795893853977944153363','image/png',3885,1795893854185,NULL,NULL);
CREATE TABLE callback_tries (
    callback_id     TEXT NOT NULL REFERENCES callbacks (id),
    number          INTEGER NOT NULL,
    started_at      INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    http_status     INTEGER,
    outcome         TEXT NOT NULL,
    PRIMARY KEY (callback_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "callback_tries" VALUES('msg_bce99e6d56d42239515570be8470815b',1,1795893854610,7,500,'answered HTTP 500 Internal Server Error');
INSERT INTO "callback_tries" VALUES('msg_bce99e6d56d42239515570be8470815b',2,1795893854729,8,500,'answered HTTP 500 Internal Server Error');
INSERT INTO "callback_tries" VALUES('msg_bce99e6d56d42239515570be8470815b',3,1795893854942,9,500,'answered HTTP 500 Internal Server Error');
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
INSERT INTO "callbacks" VALUES(1,'msg_bce99e6d56d42239515570be8470815b','img1795893854261604202298','ak_9375e720b85ca25f','http://127.0.0.1:18999/enlarge_image','http://127.0.0.1:18999','{"code":"200","msg":"success","data":{"taskId":"img1795893854261604202298","businessTaskId":"pushed","status":2,"desc":"the engine failed: sandbox: out of paper","progress":0.0}}','pending',3,1795897454952,1795893854560);
CREATE TABLE idempotency (
    key_id          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    task_id         TEXT NOT NULL,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (key_id, idempotency_key)
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency" VALUES('ak_9375e720b85ca25f','the-same','img1795893854261604202298',4949493854261);
CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    secret_hash     BLOB NOT NULL,      -- SHA-256; a secret has 256 random bits, so no slow hash is needed
    signing_secret  TEXT NOT NULL,      -- of the callbacks; needed as it is, to sign with
    created_at      INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;
INSERT INTO "keys" VALUES('ak_9375e720b85ca25f','upgrade',X'F24805A31756CE4153164E1DC534B726E37D411D2985ECC05F9F99759CE9E3DB','whsec_FqtYhNWy+NyGXH/vl7OwjWIxjyM10OXkgMoX662O/VU=',1795893853293,NULL);
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
, training TEXT) STRICT;
INSERT INTO "tasks" VALUES(1,'img1795893853977944153363','ak_9375e720b85ca25f','text_to_image','succeeded','{"batch_size":1,"steps":4,"prompt":"a lighthouse","width":64,"height":64,"alwayson_scripts":{"sd_model_checkpoint":"sandbox.safetensors","id_task":"succeeded"}}',NULL,NULL,'succeeded',1,'{"pictures":[{"token":"bdc87fbeb21604ac974c46e07eb425d1c02eb567.png","width":64,"height":64,"seed":2009632163}]}',NULL,'sandbox','sandbox',1795893853977,1795893853979,1795893854185,NULL);
INSERT INTO "tasks" VALUES(2,'img1795893854261604202298','ak_9375e720b85ca25f','enlarge_image','pushed','{"businessTaskId":"pushed","sourceImage":"https://example.com/cat.png","scale":1,"callbackUrl":"http://127.0.0.1:18999/enlarge_image"}','fail=out of paper','http://127.0.0.1:18999/enlarge_image','failed',1,NULL,'the engine failed: sandbox: out of paper','sandbox','sandbox',1795893854261,1795893854281,1795893854560,NULL);
INSERT INTO "tasks" VALUES(3,'img1795893854615598176563','ak_9375e720b85ca25f','submit_training','lora','{"taskId":"lora","fileUrlList":["http://127.0.0.1:18999/0.png","http://127.0.0.1:18999/1.png","http://127.0.0.1:18999/2.png","http://127.0.0.1:18999/3.png","http://127.0.0.1:18999/4.png","http://127.0.0.1:18999/5.png","http://127.0.0.1:18999/6.png","http://127.0.0.1:18999/7.png","http://127.0.0.1:18999/8.png","http://127.0.0.1:18999/9.png"],"repeats":10}',NULL,NULL,'failed',1,NULL,'no training engine configured; the data set is kept in `datasets/img1795893854615598176563` within the server''s data folder, with the command to train by in its `train.sh`; the base model "v1-5-pruned-emaonly" is in no models folder',NULL,NULL,1795893854615,1795893854626,1795893854978,'{"folder":"datasets/img1795893854615598176563","command":["accelerate","launch","train_network.py","--pretrained_model_name_or_path=v1-5-pruned-emaonly","--train_data_dir=img","--caption_extension=.txt","--output_dir=output","--output_name=lora","--logging_dir=logs","--max_train_epochs=20","--train_batch_size=1","--resolution=512","--max_token_length=225","--clip_skip=1","--learning_rate=0.00001","--network_module=networks.lora","--enable_bucket"]}');
INSERT INTO "tasks" VALUES(4,'img1795893855029328390535','ak_9375e720b85ca25f','enlarge_image','cancelled','{"businessTaskId":"cancelled","sourceImage":"https://example.com/cat.png","scale":1}','hang',NULL,'cancelled',1,NULL,'cancelled by the caller','sandbox','sandbox',1795893855029,1795893855076,1795893855121,NULL);
INSERT INTO "tasks" VALUES(5,'img1795893855205704111053','ak_9375e720b85ca25f','enlarge_image','running-0','{"businessTaskId":"running-0","sourceImage":"https://example.com/cat.png","scale":1}','delay=3s',NULL,'running',1,NULL,NULL,NULL,NULL,1795893855205,1795893855297,NULL,NULL);
INSERT INTO "tasks" VALUES(6,'img1795893855309235533568','ak_9375e720b85ca25f','enlarge_image','running-1','{"businessTaskId":"running-1","sourceImage":"https://example.com/cat.png","scale":1}','delay=3s',NULL,'running',1,NULL,NULL,NULL,NULL,1795893855309,1795893855342,NULL,NULL);
INSERT INTO "tasks" VALUES(7,'img1795893855369282007967','ak_9375e720b85ca25f','enlarge_image','queued','{"businessTaskId":"queued","sourceImage":"https://example.com/cat.png","scale":1}','delay=1ms',NULL,'queued',0,NULL,NULL,NULL,NULL,1795893855369,NULL,NULL,NULL);
INSERT INTO "tasks" VALUES(8,'img1795893855380680401361','ak_9375e720b85ca25f','text_to_image','queued','{"batch_size":1,"steps":4,"prompt":"a lighthouse","width":64,"height":64,"alwayson_scripts":{"sd_model_checkpoint":"sandbox.safetensors","id_task":"queued"}}',NULL,NULL,'queued',0,NULL,NULL,NULL,NULL,1795893855380,NULL,NULL,NULL);
INSERT INTO "tasks" VALUES(9,'img1795893855392898963827','ak_9375e720b85ca25f','submit_training','waiting','{"taskId":"waiting","fileUrlList":["http://127.0.0.1:18999/0.png","http://127.0.0.1:18999/1.png","http://127.0.0.1:18999/2.png","http://127.0.0.1:18999/3.png","http://127.0.0.1:18999/4.png","http://127.0.0.1:18999/5.png","http://127.0.0.1:18999/6.png","http://127.0.0.1:18999/7.png","http://127.0.0.1:18999/8.png","http://127.0.0.1:18999/9.png"],"repeats":10}',NULL,NULL,'queued',0,NULL,NULL,NULL,NULL,1795893855392,NULL,NULL,'{"folder":"datasets/img1795893855392898963827","command":["accelerate","launch","train_network.py","--pretrained_model_name_or_path=v1-5-pruned-emaonly","--train_data_dir=img","--caption_extension=.txt","--output_dir=output","--output_name=waiting","--logging_dir=logs","--max_train_epochs=20","--train_batch_size=1","--resolution=512","--max_token_length=225","--clip_skip=1","--learning_rate=0.00001","--network_module=networks.lora","--enable_bucket"]}');
CREATE INDEX tasks_by_caller ON tasks (key_id, caller_id, seq);
CREATE INDEX tasks_by_key ON tasks (key_id, seq);
CREATE INDEX tasks_queued ON tasks (key_id, seq) WHERE state = 'queued';
CREATE INDEX tasks_running ON tasks (seq) WHERE state = 'running';
CREATE UNIQUE INDEX tasks_training ON tasks (key_id, caller_id) WHERE operation = 'submit_training';
CREATE INDEX idempotency_by_end ON idempotency (expires_at);
CREATE INDEX assets_by_end ON assets (expires_at) WHERE deleted_at IS NULL;
CREATE INDEX callbacks_due ON callbacks (next_at) WHERE state = 'pending';
CREATE INDEX callbacks_by_key ON callbacks (key_id, seq);
CREATE INDEX callbacks_by_task ON callbacks (task_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',9);
INSERT INTO "sqlite_sequence" VALUES('callbacks',1);
COMMIT;
PRAGMA user_version = 2;
