//! How many tasks are claimed a second out of a million, by the store and by the statement that the design was measured with.
//!
//! Both work on the same server, by turns, on the same rows. A process of a fleet looks at what waits for all its workers, and each
//! claims a task of a key that was found; the statement of the design looks and claims at once. It begins at any key and lets 8
//! tasks of a key run. What was claimed ends before the next round.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use imgopen_postgres::{PostgresOptions, PostgresStore};
use imgopen_store::{Asked, Claim, KeyId, Lane, Moment, OwnerAbout, OwnerId, RunId, Store};
use imgopen_tests::ratio::{Ratio, alternate, median, verdict};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_postgres::{Client, Statement};

use crate::members::{connect, fill};
use crate::postgres::{Cluster, Database};
use crate::{CONNECTIONS, KEYS, MANY};

/// How often both are measured, and with how many claims each time: a few of each key, of which 8 may run.
const ROUNDS: usize = 21;
const CLAIMS: usize = 2000;

/// The least part of the rate of the design's statement.
const TARGET: f64 = 0.8;

/// How many needs and lanes a process asks for at once, lanes shared by the needs, and at least of each, as the service does.
const NEEDS: usize = 256;
const LANES: usize = 512;
const LANES_OF_NEEDS: usize = 8;

/// Tasks of many keys, of which the first has half. Those of each key have all needs.
const FILL: &str = "
    INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, callback_url, created_at)
    SELECT 'img' || lpad(i::text, 22, '0'), 'ak_' || lpad((CASE WHEN i % 2 = 0 THEN 0 ELSE (i / 2) % :keys END)::text, 16, '0'),
        'enlarge_image', 'operation_' || ((hashint8(i::bigint) & 2147483647) % :needs), 'c' || i,
        '{\"businessTaskId\":\"c' || i || '\",\"sourceImage\":\"https://example.com/' || md5(i::text) || '.png\",\"scale\":2.5}',
        'https://example.com/hook', 1764000000000 + i
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
                SELECT 1 FROM tasks r WHERE r.state = 'running' AND r.key_id = ring.key_id LIMIT 8) c) < 8
        LIMIT 1
    )
    UPDATE tasks SET state = 'running', attempt = attempt + 1, run = gen_random_uuid(), worker = $3::text::uuid,
        started_at = 1764000000000
    FROM pick WHERE tasks.seq = pick.seq AND tasks.state = 'queued'
      AND EXISTS (SELECT 1 FROM workers WHERE id = $3::text::uuid AND lease_until > now_ms())
    RETURNING tasks.seq, id, key_id, operation, request, attempt, run";

/// The end of what runs, so that it does not count for the limit of a key.
const END: &str = "UPDATE tasks SET state = 'succeeded' WHERE state = 'running'";

/// Prints the claims a second of both, of three needs.
pub fn of_three_needs(cluster: &Arc<Cluster>, runtime: &Runtime) {
    measure(cluster, runtime, 3);
}

/// Prints the claims a second of both, of a hundred needs.
pub fn of_a_hundred_needs(cluster: &Arc<Cluster>, runtime: &Runtime) {
    measure(cluster, runtime, 100);
}

fn measure(cluster: &Arc<Cluster>, runtime: &Runtime, needs: usize) {
    let mut member = runtime.block_on(Member::new(&cluster.database(), needs));
    let designed = runtime.block_on(Designed::new(&cluster.database(), needs));
    let [ours, theirs] =
        alternate(ROUNDS, [&mut || runtime.block_on(member.claim()), &mut || runtime.block_on(designed.claim())]);
    let ratio = Ratio::of_figures(&ours, &theirs);
    println!("\nclaims a second by {CONNECTIONS} workers, {MANY} queued tasks of {KEYS} keys, of {needs} needs");
    println!("  by the store: {:.0}; by the statement of the design: {:.0}", median(&ours), median(&theirs));
    println!("  ratio: {ratio} (target: at least {TARGET}): {}", verdict(ratio.median() >= TARGET));
}

/// Queues a million tasks of so many needs. The table is not vacuumed later, so that both find the same in every round.
async fn fill_with(client: &Client, needs: usize) {
    let sql = [(":keys", KEYS), (":many", MANY), (":needs", needs)]
        .into_iter()
        .fold(FILL.to_owned(), |sql, (name, number)| sql.replace(name, &number.to_string()));
    client.batch_execute("ALTER TABLE tasks SET (autovacuum_enabled = false)").await.expect("the tables are there");
    fill(client, &sql).await;
}

/// A process of a fleet.
struct Member {
    store: PostgresStore,
    owner: OwnerId,
    /// The last key that was found, by needs.
    cursors: HashMap<String, KeyId>,
    client: Client,
}

impl Member {
    async fn new(database: &Database, needs: usize) -> Self {
        let options = PostgresOptions { connections: CONNECTIONS, ..PostgresOptions::default() };
        let store = PostgresStore::open(&database.url(), &options).await.expect("an empty database");
        let client = connect(database).await;
        fill_with(&client, needs).await;
        let owner = OwnerId::new().expect("random numbers");
        let lease = Some(Duration::from_secs(3600));
        store.register_owner(owner.clone(), lease, OwnerAbout::default()).await.expect("an owner");
        Self { store, owner, cursors: HashMap::new(), client }
    }

    /// Returns how many tasks are claimed a second, looks included.
    async fn claim(&mut self) -> f64 {
        let Self { store, owner, cursors, client } = self;
        client.batch_execute(END).await.expect("the tables are there");
        let (store, owner) = (&*store, &*owner);
        let (found, lanes) = channel(2 * CONNECTIONS);
        let (lanes, claimed, begun) = (Mutex::new(lanes), AtomicUsize::new(0), Instant::now());
        let workers = join_all((0..CONNECTIONS).map(|_| claim_each(store, owner, &lanes, &claimed)));
        tokio::select! {
            _ = workers => {}
            () = look(store, cursors, found) => panic!("the workers end before"),
        }
        claimed.into_inner() as f64 / begun.elapsed().as_secs_f64()
    }
}

/// Looks again whenever few of the lanes that it found are left.
async fn look(store: &PostgresStore, cursors: &mut HashMap<String, KeyId>, found: Sender<Lane>) {
    loop {
        let waiting = store.waiting_needs(None, NEEDS).await.expect("needs");
        let most = (LANES / waiting.len()).max(LANES_OF_NEEDS);
        let to_asked = |needs: String| Asked { after: cursors.get(&needs).cloned(), needs, most };
        let asked = waiting.into_iter().map(to_asked).collect();
        for lane in store.waiting(asked).await.expect("lanes") {
            cursors.insert(lane.needs.clone(), lane.key.clone());
            if found.send(lane).await.is_err() {
                return;
            }
        }
    }
}

/// Claims a task of each lane, until enough are claimed by all.
async fn claim_each(store: &PostgresStore, owner: &OwnerId, lanes: &Mutex<Receiver<Lane>>, claimed: &AtomicUsize) {
    while claimed.load(Ordering::Relaxed) < CLAIMS {
        let Lane { needs, key, .. } = next(lanes).await;
        let (run, owner) = (RunId::new().expect("random numbers"), owner.clone());
        let claim = Claim { key, needs, run, owner, now: Moment(8), only: None };
        if store.claim(claim).await.expect("a claim").is_some() {
            claimed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn next(lanes: &Mutex<Receiver<Lane>>) -> Lane {
    lanes.lock().await.recv().await.expect("more wait")
}

/// Workers with the statement of the design.
struct Designed {
    workers: Vec<(Client, Statement)>,
    needs: Vec<String>,
}

impl Designed {
    async fn new(database: &Database, count: usize) -> Self {
        let client = connect(database).await;
        client.batch_execute(DESIGN).await.expect("an empty database");
        fill_with(&client, count).await;
        let mut workers = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect(database).await;
            // As the store's connections.
            client.batch_execute("SET jit = off").await.expect("a setting");
            let statement = client.prepare(DESIGNED).await.expect("the tables are there");
            workers.push((client, statement));
        }
        Self { workers, needs: (0..count).map(|number| format!("operation_{number}")).collect() }
    }

    /// Returns how many tasks are claimed a second.
    async fn claim(&self) -> f64 {
        self.workers[0].0.batch_execute(END).await.expect("the tables are there");
        let claimed = AtomicUsize::new(0);
        let (claimed, begun) = (&claimed, Instant::now());
        join_all(self.workers.iter().map(|(client, statement)| async move {
            while claimed.load(Ordering::Relaxed) < CLAIMS {
                let after = format!("ak_{:016}", fastrand::usize(..KEYS));
                let worker = format!("00000000-0000-0000-0000-{:012}", fastrand::usize(1..=64));
                let rows =
                    client.query(statement, &[&after, &self.needs, &worker]).await.expect("the tables are there");
                claimed.fetch_add(rows.len(), Ordering::Relaxed);
            }
        }))
        .await;
        claimed.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
    }
}
