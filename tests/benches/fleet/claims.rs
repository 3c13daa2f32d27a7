//! How many tasks are claimed a second out of a million, by the store and by the statement that the design was measured with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{Asked, Claim, KeyId, Lane, Moment, OwnerAbout, OwnerId, RunId, Store};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::postgres::{Cluster, Database};
use crate::submits::connect;
use crate::{CONNECTIONS, KEYS, MANY};

/// For how long each is measured.
const TIME: Duration = Duration::from_secs(5);

/// How many lanes a worker asks for at once, shared by the needs that wait, and at least of each, as the service does.
const LANES: usize = 512;
const LANES_OF_NEEDS: usize = 8;

/// So many runs of a key that none waits.
const PER_KEY: usize = 1_000_000;

/// Tasks of many keys, of which the first has half.
const FILL: &str = "
    INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, created_at)
    SELECT 'img' || lpad(i::text, 22, '0'), 'ak_' || lpad((CASE WHEN i % 2 = 0 THEN 0 ELSE (i / 2) % :keys END)::text, 16, '0'),
        'enlarge_image', 'operation_' || ((i / 3) % :needs), 'c' || i,
        '{\"businessTaskId\":\"c' || i || '\",\"sourceImage\":\"https://example.com/' || md5(i::text) || '.png\",\"scale\":2.5}',
        1764000000000 + i
    FROM generate_series(1, :many) i";

/// The tables of the design.
const DESIGN: &str = "
    CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql STABLE
        AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint $$;
    CREATE TABLE tasks (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, key_id text NOT NULL,
        operation text NOT NULL, needs text NOT NULL, caller_id text NOT NULL, request text NOT NULL, directives text,
        callback_url text, state text NOT NULL DEFAULT 'queued', attempt int NOT NULL DEFAULT 0, run uuid, worker uuid,
        output text, failure text, engine text, grade text, created_at bigint NOT NULL, started_at bigint, finished_at bigint,
        training text) WITH (fillfactor = 80);
    CREATE INDEX ON tasks (key_id, caller_id, seq);
    CREATE INDEX ON tasks (key_id, seq);
    CREATE INDEX ON tasks (needs, key_id, seq) WHERE state = 'queued';
    CREATE INDEX ON tasks (key_id) WHERE state = 'running';
    CREATE INDEX ON tasks (worker) WHERE state = 'running';
    CREATE UNIQUE INDEX ON tasks (key_id, caller_id) WHERE operation = 'submit_training';
    CREATE TABLE workers (id uuid PRIMARY KEY, host text, lease_until bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO workers SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 'h' || i, 9e15::bigint
        FROM generate_series(1, 64) i";

/// The claim of the design.
const DESIGNED: &str = "
    WITH RECURSIVE ring(key_id, wrapped, hop) AS (
        SELECT $1::text, false, 0
      UNION ALL
        SELECT coalesce(nxt.key_id, ''), ring.wrapped OR nxt.key_id IS NULL, ring.hop + 1
        FROM ring LEFT JOIN LATERAL (
          SELECT min(c.key_id) AS key_id FROM unnest($2::text[]) AS n(need), LATERAL (
            SELECT t.key_id FROM tasks t WHERE t.state = 'queued' AND t.needs = n.need AND t.key_id > ring.key_id
            ORDER BY t.key_id LIMIT 1) c
        ) nxt ON true
        WHERE NOT (ring.wrapped AND (nxt.key_id IS NULL OR nxt.key_id > $1::text))
    ), pick AS MATERIALIZED (
        SELECT t.seq FROM ring, LATERAL (
          SELECT x.seq FROM unnest($2::text[]) AS n(need), LATERAL (
            SELECT q.seq FROM tasks q WHERE q.state = 'queued' AND q.needs = n.need AND q.key_id = ring.key_id
            ORDER BY q.seq LIMIT 1 FOR UPDATE SKIP LOCKED) x ORDER BY x.seq LIMIT 1) t
        WHERE ring.hop > 0 AND ring.key_id <> ''
          AND (SELECT count(*) FROM (
                SELECT 1 FROM tasks r WHERE r.state = 'running' AND r.key_id = ring.key_id LIMIT $3::bigint) c) < $3::bigint
        LIMIT 1
    )
    UPDATE tasks SET state = 'running', attempt = attempt + 1, run = gen_random_uuid(), worker = $4::text::uuid,
        started_at = 1764000000000
    FROM pick WHERE tasks.seq = pick.seq AND tasks.state = 'queued'
      AND EXISTS (SELECT 1 FROM workers WHERE id = $4::text::uuid AND lease_until > now_ms())
    RETURNING tasks.seq, id, key_id, operation, request, attempt, run";

/// Prints the claims a second of both.
pub fn measure(cluster: &Arc<Cluster>, runtime: &Runtime) {
    println!("\nclaims a second by {CONNECTIONS} workers, {MANY} queued tasks of {KEYS} keys");
    runtime.block_on(async {
        for count in [3, 100] {
            let own = cluster.database();
            let options = PostgresOptions { connections: CONNECTIONS, ..PostgresOptions::default() };
            let store = PostgresStore::open(&own.url(), &options).await.expect("an empty database");
            fill(&own, count).await;
            let ours = by_the_store(&store).await;
            let designed = cluster.database();
            connect(&designed).await.batch_execute(DESIGN).await.expect("an empty database");
            fill(&designed, count).await;
            let needs: Vec<_> = (0..count).map(|number| format!("operation_{number}")).collect();
            let theirs = as_designed(&designed, &needs).await;
            println!("  of {count} needs: {ours:.0}; as designed {theirs:.0}; ratio {:.2}", ours / theirs);
        }
    });
}

/// Queues a million tasks of so many needs.
async fn fill(database: &Database, needs: usize) {
    let client = connect(database).await;
    let sql = [(":keys", KEYS), (":many", MANY), (":needs", needs)]
        .into_iter()
        .fold(FILL.to_owned(), |sql, (name, number)| sql.replace(name, &number.to_string()));
    client.batch_execute(&sql).await.expect("room on the disk");
    client.batch_execute("VACUUM ANALYZE tasks").await.expect("nobody else is there");
    client.batch_execute("CHECKPOINT").await.expect("a superuser");
}

/// Where a worker begins, so that not all begin at the same key.
fn start(worker: usize) -> String {
    format!("ak_{:016}", worker * KEYS / CONNECTIONS)
}

/// As the service does: looks at a part of the lanes, and claims one task of each.
async fn by_the_store(store: &PostgresStore) -> f64 {
    let workers = (0..CONNECTIONS).map(|worker| async move {
        let owner = OwnerId::new().expect("random numbers");
        let lease = Some(Duration::from_secs(3600));
        store.register_owner(owner.clone(), lease, OwnerAbout::default()).await.expect("an owner");
        let (mut after, mut claims, begun) = (KeyId(start(worker)), 0_u32, Instant::now());
        while begun.elapsed() < TIME {
            let waiting = store.waiting_needs(None, 256).await.expect("needs");
            let most = (LANES / waiting.len()).max(LANES_OF_NEEDS);
            let to_asked = |needs| Asked { needs, after: Some(after.clone()), most };
            let lanes = store.waiting(waiting.into_iter().map(to_asked).collect()).await.expect("lanes");
            for Lane { needs, key, .. } in lanes {
                after = key.clone();
                let (run, owner) = (RunId::new().expect("random numbers"), owner.clone());
                let claim = Claim { key, needs, run, owner, now: Moment(8), only: None };
                claims += u32::from(store.claim(claim).await.expect("a claim").is_some());
            }
        }
        f64::from(claims) / begun.elapsed().as_secs_f64()
    });
    join_all(workers).await.into_iter().sum()
}

async fn as_designed(database: &Database, needs: &[String]) -> f64 {
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(connect(database).await);
    }
    let per_key = i64::try_from(PER_KEY).expect("it is small");
    let workers = clients.iter().enumerate().map(|(worker, client)| async move {
        let statement = client.prepare(DESIGNED).await.expect("the tables are there");
        let owner = format!("00000000-0000-0000-0000-{:012}", worker + 1);
        let (mut after, mut claims, begun) = (start(worker), 0_u32, Instant::now());
        while begun.elapsed() < TIME {
            let row = client.query_one(&statement, &[&after, &needs, &per_key, &owner]).await.expect("a task");
            after = row.get(2);
            claims += 1;
        }
        f64::from(claims) / begun.elapsed().as_secs_f64()
    });
    join_all(workers).await.into_iter().sum()
}
