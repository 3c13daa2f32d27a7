//! The metrics of the service.

pub mod form;

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use imgopen_engine::BackendStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The metrics of one service.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<Answered, Counter>,
    refused_calls: Family<RefusedCall, Counter>,
    accepted: Family<Accepted, Counter>,
    refused: Family<Answered, Counter>,
    finished: Family<Finished, Counter>,
    queued: Gauge,
    running: Gauge,
    wait: Family<Accepted, Histogram>,
    run: Family<Worked, Histogram>,
    tries: Family<Tried, Counter>,
    restarts: Family<Part, Counter>,
    asset_bytes: Gauge,
    backend_up: Family<Backend, Gauge>,
    backend_jobs: Family<Backend, Gauge>,
    audits: AuditMetrics,
    lease_age: Gauge<f64, AtomicU64>,
    failed_heartbeats: Counter,
    strays: Counter,
    refused_ends: Counter,
    recovered: Counter,
    orphans: Counter,
    unknown: Gauge,
    processes: Gauge,
}

/// What audits of pictures measure. Clones share it.
#[derive(Debug, Clone)]
pub struct AuditMetrics {
    pictures: Family<Judged, Counter>,
    time: Histogram,
}

/// What an audit has made of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing was found in it.
    Passed,
    /// Something was found in it, which its result says.
    Marked,
    /// Something was found in it, and it was blurred.
    Blurred,
    /// Something was found in it, and its result was refused.
    Refused,
}

/// What a process measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The only process of its database.
    Alone,
    /// One of several, which measures the database only if callers and operators ask it.
    Fleet {
        /// Whether it measures the database.
        has_database: bool,
    },
}

/// What is measured when somebody asks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gauges {
    /// Queued tasks.
    pub queued: usize,
    /// Running tasks.
    pub running: usize,
    /// Bytes of result pictures that are kept.
    pub asset_bytes: i64,
    /// Files that nothing in the database accounts for.
    pub unknown: i64,
    /// Processes of the fleet.
    pub processes: usize,
    /// How long ago the last heartbeat that succeeded was sent.
    pub lease_age: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Accepted {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedCall {
    operation: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    operation: &'static str,
    engine: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worked {
    operation: &'static str,
    engine: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Backend {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    verdict: &'static str,
}

/// Returns a histogram of times, from 5 ms to about 20 minutes.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 18))
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Marked => "marked",
            Self::Blurred => "blurred",
            Self::Refused => "refused",
        }
    }
}

impl AuditMetrics {
    /// Metrics of audits that have measured nothing yet.
    pub fn new() -> Self {
        Self { pictures: Family::default(), time: times() }
    }

    /// Counts a picture that was audited.
    pub fn audited(&self, verdict: Verdict) {
        self.pictures.get_or_create(&Judged { verdict: verdict.as_str() }).inc();
    }

    /// Records how long the audit of a picture took.
    pub fn took(&self, time: Duration) {
        self.time.observe(time.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        let pictures =
            "Pictures audited, by what was done with them; refused ones are those in which something was found";
        registry.register("pictures_audited", pictures, self.pictures.clone());
        let time = "For the audit of a picture";
        registry.register_with_unit("audit_time", time, Unit::Seconds, self.time.clone());
    }
}

impl Metrics {
    /// Metrics of a process that has measured nothing yet.
    pub fn new(scope: Scope) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("imgopen"),
            calls: Family::default(),
            refused_calls: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            finished: Family::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            wait: Family::new_with_constructor(times),
            run: Family::new_with_constructor(times),
            tries: Family::default(),
            restarts: Family::default(),
            asset_bytes: Gauge::default(),
            backend_up: Family::default(),
            backend_jobs: Family::default(),
            audits: AuditMetrics::new(),
            lease_age: Gauge::default(),
            failed_heartbeats: Counter::default(),
            strays: Counter::default(),
            refused_ends: Counter::default(),
            recovered: Counter::default(),
            orphans: Counter::default(),
            unknown: Gauge::default(),
            processes: Gauge::default(),
        };
        metrics.register();
        if scope != (Scope::Fleet { has_database: false }) {
            metrics.register_database();
        }
        if let Scope::Fleet { has_database } = scope {
            metrics.register_fleet(has_database);
        }
        metrics
    }

    /// What every process of a fleet would measure in the same way.
    fn register_database(&mut self) {
        let registry = &mut self.registry;
        registry.register("tasks_queued", "Tasks queued", self.queued.clone());
        registry.register("tasks_running", "Tasks running", self.running.clone());
        let bytes = "Bytes of all result pictures that are kept";
        registry.register_with_unit("assets", bytes, Unit::Bytes, self.asset_bytes.clone());
        let unknown = "Files of results that the database does not know, and which are kept, as last counted";
        registry.register("assets_unknown", unknown, self.unknown.clone());
    }

    fn register_fleet(&mut self, has_database: bool) {
        let registry = &mut self.registry;
        if has_database {
            registry.register("processes", "Processes whose lease has not ended", self.processes.clone());
        }
        let age =
            "Since the last heartbeat that succeeded; beyond the lease, others take the runs of this process over";
        registry.register_with_unit("lease_age", age, Unit::Seconds, self.lease_age.clone());
        let failed = "Heartbeats of this process that failed";
        registry.register("heartbeats_failed", failed, self.failed_heartbeats.clone());
        let strays = "Claims of this process whose answers were lost, and which went back to the queue";
        registry.register("strays", strays, self.strays.clone());
        let refused = "Ends of runs here that were refused, because the task was cancelled or another process had it";
        registry.register("ends_refused", refused, self.refused_ends.clone());
        let recovered = "Runs of processes that died which this process queued again or ended";
        registry.register("runs_recovered", recovered, self.recovered.clone());
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("calls", "Calls answered, by operation and HTTP status", self.calls.clone());
        let refused = "Calls refused before their operation began, by what was wrong";
        registry.register("calls_refused", refused, self.refused_calls.clone());
        registry.register("tasks_accepted", "Tasks accepted", self.accepted.clone());
        registry.register("submits_refused", "Submits rejected, by HTTP status", self.refused.clone());
        registry.register("tasks_finished", "Tasks ended, by the state they ended in", self.finished.clone());
        let wait = "From acceptance to the start of the last run";
        registry.register_with_unit("queue_wait", wait, Unit::Seconds, self.wait.clone());
        let run = "From the start of the last run to its end";
        registry.register_with_unit("run_time", run, Unit::Seconds, self.run.clone());
        registry.register("callback_tries", "Tries to push a callback, by outcome", self.tries.clone());
        let restarts = "Parts of the service that ended and were started again";
        registry.register("part_restarts", restarts, self.restarts.clone());
        let orphans = "Files of runs that are over which this process deleted";
        registry.register("orphans_deleted", orphans, self.orphans.clone());
        registry.register("backend_up", "Whether a back end answers", self.backend_up.clone());
        registry.register("backend_jobs", "Jobs that a back end works on for this service", self.backend_jobs.clone());
        self.audits.register(registry);
    }

    /// Returns what audits of pictures measure.
    pub fn audits(&self) -> &AuditMetrics {
        &self.audits
    }

    /// Counts a call that was answered with this HTTP status.
    pub fn called(&self, operation: &'static str, status: u16) {
        self.calls.get_or_create(&Answered { operation, status }).inc();
    }

    /// Counts a call that was refused before its operation began.
    pub fn call_refused(&self, operation: &'static str, reason: &'static str) {
        self.refused_calls.get_or_create(&RefusedCall { operation, reason }).inc();
    }

    /// Counts a submit that became a task.
    pub fn accepted(&self, operation: &'static str) {
        self.accepted.get_or_create(&Accepted { operation }).inc();
    }

    /// Counts a part of the service that was started again.
    pub fn restarted(&self, part: &'static str) {
        self.restarts.get_or_create(&Part { part }).inc();
    }

    /// Counts a submit that was rejected with this HTTP status.
    pub fn refused(&self, operation: &'static str, status: u16) {
        self.refused.get_or_create(&Answered { operation, status }).inc();
    }

    /// Records how long a task waited for its run.
    pub fn started(&self, operation: &'static str, wait: Duration) {
        self.wait.get_or_create(&Accepted { operation }).observe(wait.as_secs_f64());
    }

    /// Counts a task that ended, and records how long its run took, if it had one.
    pub fn finished(&self, operation: &'static str, engine: Option<&str>, state: &'static str, run: Option<Duration>) {
        let engine = engine.unwrap_or("none").to_owned();
        if let Some(run) = run {
            let worked = Worked { operation, engine: engine.clone() };
            self.run.get_or_create(&worked).observe(run.as_secs_f64());
        }
        self.finished.get_or_create(&Finished { operation, engine, state }).inc();
    }

    /// Counts a delivery attempt.
    pub fn tried(&self, outcome: &'static str) {
        self.tries.get_or_create(&Tried { outcome }).inc();
    }

    /// Counts a heartbeat that failed.
    pub fn heartbeat_failed(&self) {
        self.failed_heartbeats.inc();
    }

    /// Counts claims whose answers were lost.
    pub fn strayed(&self, count: usize) {
        self.strays.inc_by(count as u64);
    }

    /// Counts an end that was refused.
    pub fn end_refused(&self) {
        self.refused_ends.inc();
    }

    /// Counts runs that were recovered.
    pub fn recovered(&self, count: usize) {
        self.recovered.inc_by(count as u64);
    }

    /// Counts files of runs that are over which were deleted.
    pub fn orphans_deleted(&self, count: usize) {
        self.orphans.inc_by(count as u64);
    }

    /// Formats all metrics as OpenMetrics, with these values of the gauges.
    pub fn text(&self, gauges: Gauges, backends: Vec<BackendStatus>) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.queued.set(count(gauges.queued));
        self.running.set(count(gauges.running));
        self.asset_bytes.set(gauges.asset_bytes);
        self.unknown.set(gauges.unknown);
        self.processes.set(count(gauges.processes));
        if let Some(age) = gauges.lease_age {
            self.lease_age.set(age.as_secs_f64());
        }
        for BackendStatus { name, away, jobs, .. } in backends {
            let backend = Backend { backend: name };
            self.backend_up.get_or_create(&backend).set(i64::from(away.is_none()));
            self.backend_jobs.get_or_create(&backend).set(count(jobs));
        }
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            // Writing to a string does not fail; if it does, the reader sees why.
            let _ = write!(text, "# {error}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_written() {
        let metrics = Metrics::new(Scope::Fleet { has_database: true });
        metrics.called("outpaint", 200);
        metrics.call_refused("outpaint", "json");
        metrics.accepted("outpaint");
        metrics.refused("outpaint", 429);
        metrics.started("outpaint", Duration::from_millis(7));
        metrics.finished("outpaint", Some("sandbox"), "succeeded", Some(Duration::from_secs(2)));
        metrics.tried("acknowledged");
        for verdict in [Verdict::Passed, Verdict::Passed, Verdict::Marked, Verdict::Blurred, Verdict::Refused] {
            metrics.audits().audited(verdict);
        }
        metrics.audits().took(Duration::from_millis(250));
        let backend = |name: &str, away: Option<&str>, jobs| BackendStatus {
            name: name.to_owned(),
            program: "ComfyUI".to_owned(),
            version: None,
            away: away.map(str::to_owned),
            jobs,
            operations: Vec::new(),
        };
        let backends = vec![backend("comfyui", None, 2), backend("comfyui-2", Some("it does not answer"), 0)];
        metrics.heartbeat_failed();
        metrics.strayed(2);
        metrics.end_refused();
        metrics.recovered(3);
        metrics.orphans_deleted(4);
        let lease_age = Some(Duration::from_millis(1500));
        let gauges = Gauges { queued: 3, running: 1, asset_bytes: 77, unknown: 5, processes: 6, lease_age };
        let text = metrics.text(gauges, backends);
        for line in [
            "imgopen_calls_total{operation=\"outpaint\",status=\"200\"} 1",
            "imgopen_calls_refused_total{operation=\"outpaint\",reason=\"json\"} 1",
            "imgopen_tasks_accepted_total{operation=\"outpaint\"} 1",
            "imgopen_submits_refused_total{operation=\"outpaint\",status=\"429\"} 1",
            "imgopen_tasks_finished_total{operation=\"outpaint\",engine=\"sandbox\",state=\"succeeded\"} 1",
            "imgopen_tasks_queued 3",
            "imgopen_tasks_running 1",
            "imgopen_queue_wait_seconds_count{operation=\"outpaint\"} 1",
            "imgopen_run_time_seconds_sum{operation=\"outpaint\",engine=\"sandbox\"} 2.0",
            "imgopen_callback_tries_total{outcome=\"acknowledged\"} 1",
            "imgopen_assets_bytes 77",
            "imgopen_backend_up{backend=\"comfyui\"} 1",
            "imgopen_backend_jobs{backend=\"comfyui\"} 2",
            "imgopen_backend_up{backend=\"comfyui-2\"} 0",
            "imgopen_pictures_audited_total{verdict=\"passed\"} 2",
            "imgopen_pictures_audited_total{verdict=\"marked\"} 1",
            "imgopen_pictures_audited_total{verdict=\"blurred\"} 1",
            "imgopen_pictures_audited_total{verdict=\"refused\"} 1",
            "# UNIT imgopen_audit_time_seconds seconds",
            "imgopen_audit_time_seconds_sum 0.25",
            "imgopen_audit_time_seconds_count 1",
            "imgopen_lease_age_seconds 1.5",
            "imgopen_heartbeats_failed_total 1",
            "imgopen_strays_total 2",
            "imgopen_ends_refused_total 1",
            "imgopen_runs_recovered_total 3",
            "imgopen_orphans_deleted_total 4",
            "imgopen_assets_unknown 5",
            "imgopen_processes 6",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn each_process_measures_what_is_its_own() {
        let text = |scope| Metrics::new(scope).text(Gauges::default(), Vec::new());
        let has = |text: &str| ["imgopen_tasks_queued ", "imgopen_strays_total "].map(|line| text.contains(line));
        assert_eq!(has(&text(Scope::Alone)), [true, false]);
        assert_eq!(has(&text(Scope::Fleet { has_database: true })), [true, true]);
        assert_eq!(has(&text(Scope::Fleet { has_database: false })), [false, true]);
    }
}
