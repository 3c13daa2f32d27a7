//! Several back ends of one kind as one engine.
//!
//! A task goes to the member that can do it soonest, and to another one if that is away. The fleet counts the jobs of each member
//! by itself, because the service knows only the fleet: a job begins on a member once that has a place and its device is free.
//! A place is taken before [`Engine::run`] returns its future, so that the next question for free places sees it, and is free again
//! when the member's work has really ended. What this service makes for a job before, such as control pictures, takes no place:
//! the job is expected meanwhile.

mod choice;
mod member;
mod names;
mod offers;
mod places;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{self, BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use imgopen_engine::{
    BackendStatus, DeviceGuard, Devices, Engine, EngineError, Expected, Job, JobRequest, Model, Monitor, Offer, Output,
    Slots,
};
use imgopen_types::Operation;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::backend::Backend;
use crate::inpaint::Inpainter;
use crate::kind::Kind;
use crate::report::Report;
use crate::settings::BackendSettings;
use choice::{Judged, Wanted};
use member::Member;
use offers::{OfMember, distinct, union};
use places::{Place, Places};

pub use names::name_all;

/// How old what is known of the members may be that is used to count free places, and how long a job waits before it looks for
/// members that have come back.
const LOOK: Duration = Duration::from_secs(1);

/// How long a job waits in the fleet for devices that something else has, such as a training. Then it is given back, because the
/// service holds memory for it and counts its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Several back ends of one kind as one engine. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Fleet {
    name: String,
    members: Arc<Members>,
}

/// The members of a fleet.
#[derive(Debug)]
struct Members {
    all: Vec<Arc<Member>>,
    places: Arc<Places>,
    /// The offers of all, and when they were asked for.
    seen: Mutex<Option<(Instant, Arc<[OfMember]>)>>,
}

/// A future that ends with the device of a member.
type Turn = BoxFuture<'static, (usize, DeviceGuard)>;

impl Fleet {
    /// Makes one engine of all back ends of a kind, or of those with the same `group`. They free the memory of their devices for
    /// whatever else uses them.
    ///
    /// # Errors
    ///
    /// If two back ends have the same name, see [`name_all`], or those of a group are of different kinds.
    pub fn of(backends: Vec<Backend>, devices: &Devices) -> Result<Vec<Self>, String> {
        let mut names = std::collections::HashSet::new();
        let mut groups: Vec<(String, Kind, Vec<Backend>)> = Vec::new();
        for backend in backends {
            let (driver, kind) = (backend.driver(), backend.kind());
            if !names.insert(driver.name().to_owned()) {
                return Err(names::taken(driver.name()));
            }
            let group = driver.settings().group.clone().unwrap_or_else(|| kind.to_string());
            match groups.iter_mut().find(|(name, ..)| *name == group) {
                Some((_, other, _)) if *other != kind => {
                    return Err(format!(
                        "the group `{group}` has back ends of the kinds `{other}` and `{kind}`; give each kind a `group` of its \
                         own"
                    ));
                }
                Some((_, _, members)) => members.push(backend),
                None => groups.push((group, kind, vec![backend])),
            }
        }
        Ok(groups.into_iter().map(|(name, _, members)| Self::new(name, members, devices)).collect())
    }

    fn new(name: String, backends: Vec<Backend>, devices: &Devices) -> Self {
        let all: Vec<_> = backends.into_iter().map(|backend| Arc::new(Member::new(backend))).collect();
        for member in &all {
            if let Some(device) = &member.driver().settings().device {
                let tenant: Weak<Member> = Arc::downgrade(member);
                devices.register(device, member.name(), tenant);
            }
        }
        let places = Places::new(all.iter().map(|member| member.seat()).collect(), devices.clone());
        Self { name, members: Arc::new(Members { all, places, seen: Mutex::default() }) }
    }

    /// Returns the engine that serves `outpaint` and `remove_object` by inpainting with these back ends, if their settings say so.
    ///
    /// # Errors
    ///
    /// If they say different things.
    pub fn inpainter(&self) -> Result<Option<Inpainter>, String> {
        let engine: Arc<dyn Engine> = Arc::new(self.clone());
        self.inpainting()?.map_or(Ok(None), |settings| Inpainter::of(&engine, settings))
    }

    /// Returns the engine that paints hair with these back ends, if their settings say so: see [`Inpainter::restyler`].
    ///
    /// # Errors
    ///
    /// If they say different things.
    pub fn restyler(&self) -> Result<Option<Inpainter>, String> {
        let engine: Arc<dyn Engine> = Arc::new(self.clone());
        self.inpainting()?.map_or(Ok(None), |settings| Inpainter::restyler(&engine, settings))
    }

    /// Returns the settings of the first back end that inpaints.
    fn inpainting(&self) -> Result<Option<&BackendSettings>, String> {
        let settings = self.members.all.iter().map(|member| member.driver().settings());
        let mut settings = settings.filter(|settings| settings.inpaint.is_some());
        let Some(first) = settings.next() else { return Ok(None) };
        if settings.any(|other| other.inpaint != first.inpaint) {
            return Err(format!(
                "the back ends of `{}` have different settings `inpaint`; give them the same, or each a `group` of its own",
                self.name
            ));
        }
        Ok(Some(first))
    }

    /// Returns what is known of each member, without asking it.
    pub fn reports(&self) -> Vec<Report> {
        self.members.all.iter().map(|member| member.driver().report()).collect()
    }
}

impl Members {
    fn all(&self) -> &[Arc<Member>] {
        &self.all
    }

    fn offers(&self) -> Vec<OfMember> {
        self.all.iter().map(|member| member.offers()).collect()
    }

    /// Returns the offers as they were a moment ago.
    fn seen(&self) -> Arc<[OfMember]> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((at, offers)) if at.elapsed() < LOOK => offers.clone(),
            _ => {
                let offers: Arc<[OfMember]> = self.offers().into();
                *seen = Some((Instant::now(), offers.clone()));
                offers
            }
        }
    }

    /// Returns the members that serve a model and are not away.
    fn there(&self, operation: &Operation, model: Option<&str>) -> Vec<usize> {
        let seen = self.seen();
        let is_there = |of: &OfMember| of.find(operation, model).is_some_and(|offer| offer.away.is_none());
        seen.iter().enumerate().filter(|(_, of)| is_there(of)).map(|(member, _)| member).collect()
    }

    /// Counts a job that is given to one of them soon.
    fn expect(&self, operation: &Operation, model: Option<&str>) -> Option<Expected> {
        let there = self.there(operation, model);
        (!there.is_empty()).then(|| Expected::new(self.places.expect(there)))
    }

    /// Carries out a job for which something must be made before it takes a place; `None` if nothing must.
    fn carry_out_prepared(
        self: &Arc<Self>,
        job: &Job,
        monitor: &Monitor,
    ) -> Option<BoxFuture<'static, Result<Output, EngineError>>> {
        let preparing = self.all.iter().find_map(|member| member.driver().prepare(job, monitor))?;
        let body: Value = job.checked_request().view().ok()?;
        let expected = self.expect(job.operation(), job.operation().model_of(&body));
        let (members, request, monitor) = (self.clone(), job.checked_request().clone(), monitor.clone());
        Some(Box::pin(async move {
            // Nothing is made in vain.
            Judged::of(members.all(), &Wanted::by(&request)?, &[]).able()?;
            let job = monitor.until_cancelled(preparing).await??;
            let first = members.try_place(&job);
            drop(expected);
            members.carry_out(job, monitor, first).await
        }))
    }

    /// Takes a place for a job if there is one now.
    fn try_place(&self, job: &Job) -> Option<Place> {
        let able = Judged::of(self.all(), &Wanted::by(job.checked_request()).ok()?, &[]).able().ok()?;
        self.places.take(None, &able)
    }

    /// Waits for a place of a member that has not tried the job, in the order in which jobs ask for one.
    async fn place(&self, job: &Job, tried: &[usize]) -> Result<Place, EngineError> {
        let wanted = Wanted::by(job.checked_request())?;
        let ticket = self.places.join();
        let mut turns: FuturesUnordered<Turn> = FuturesUnordered::new();
        let (begin, mut queued) = (Instant::now(), Vec::new());
        loop {
            let changed = self.places.changed();
            let able = Judged::of(self.all(), &wanted, tried).able()?;
            if let Some(place) = self.places.take(Some(&ticket), &able) {
                return Ok(place);
            }
            if begin.elapsed() > PATIENCE && self.places.wait_for_devices(&able) {
                let reason = "the devices of the back ends are in use by something else".to_owned();
                return Err(EngineError::Busy(reason));
            }
            // A device may be taken by what is outside the fleet. Its turns are given in order, so the job keeps its own.
            for member in able.iter().map(|able| able.member) {
                if !queued.contains(&member)
                    && let Some(turn) = self.places.turn(member)
                {
                    queued.push(member);
                    turns.push(turn.map(move |device| (member, device)).boxed());
                }
            }
            tokio::select! {
                () = changed => {}
                () = sleep(LOOK) => {}
                Some((member, device)) = turns.next() => {
                    queued.retain(|other| *other != member);
                    let is_able = able.iter().any(|able| able.member == member);
                    if let Some(place) = is_able.then(|| self.places.take_with(member, device)).flatten() {
                        return Ok(place);
                    }
                }
            }
        }
    }

    /// Carries out a job on one member after the other until one has not been away.
    async fn carry_out(&self, job: Job, monitor: Monitor, first: Option<Place>) -> Result<Output, EngineError> {
        let (mut place, mut tried, mut unavailable) = (first, Vec::<usize>::new(), None);
        loop {
            let taken = match place.take() {
                Some(taken) => taken,
                None => match monitor.until_cancelled(self.place(&job, &tried)).await? {
                    Ok(taken) => taken,
                    Err(error) => return Err(unavailable.unwrap_or(error)),
                },
            };
            let member = taken.member();
            match self.work(taken, job.clone(), &monitor).await {
                Err(EngineError::Unavailable { reason, retry_after }) => {
                    let (backend, task) = (self.all[member].name(), job.task_id());
                    warn!(backend, task, reason, "back end cannot do a job; another one is tried if there is one");
                    let reason = offers::named(backend, &reason);
                    unavailable = Some(EngineError::Unavailable { reason, retry_after });
                    tried.push(member);
                }
                result => {
                    if result.is_ok() {
                        self.discard_at(&tried, &job);
                    }
                    return result;
                }
            }
        }
    }

    /// Has members that have tried a job remove what they may still have of it, such as a prompt that waits, because another one
    /// has done it. The result does not wait for them.
    fn discard_at(&self, tried: &[usize], job: &Job) {
        let members: Vec<_> = tried.iter().map(|member| self.all[*member].clone()).collect();
        if members.is_empty() {
            return;
        }
        let (task, run) = (job.task_id().to_owned(), job.run_id().to_owned());
        tokio::spawn(async move {
            for member in members {
                member.driver().discard(&task, &run).await;
            }
        });
    }

    /// Has a member carry out a job.
    async fn work(&self, place: Place, job: Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let member = &self.all[place.member()];
        monitor.until_cancelled(place.clear()).await?;
        info!(backend = member.name(), task = job.task_id(), "back end has the job");
        let (own, part) = monitor.part();
        let run = member.driver().run(job, own);
        // By itself, because the member may work on when this run is dropped. The service learns of the end only when the place is
        // free again.
        let outer = monitor.clone();
        tokio::spawn(async move {
            part.ended().await;
            drop(place);
            drop(outer);
        });
        run.await
    }
}

impl Engine for Fleet {
    fn name(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offer> {
        union(&self.members.offers())
    }

    fn models(&self) -> Vec<Model> {
        distinct(self.members.all.iter().flat_map(|member| member.driver().models()).collect())
    }

    fn controls(&self) -> Vec<String> {
        let mut names: Vec<_> = self.members.all.iter().flat_map(|member| member.driver().controls()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn backends(&self) -> Vec<BackendStatus> {
        let jobs = self.members.places.jobs();
        let status = |(report, jobs): (Report, usize)| BackendStatus {
            operations: report.operations.iter().filter(|of| of.missing.is_none()).map(|of| of.operation).collect(),
            name: report.name,
            program: report.program.to_owned(),
            version: report.version,
            away: report.away,
            jobs,
        };
        self.reports().into_iter().zip(jobs).map(status).collect()
    }

    fn slots(&self) -> Slots {
        let jobs = self.members.all.iter().map(|member| member.seat().jobs).sum();
        Slots::Own(NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN))
    }

    fn free_places(&self, operation: &Operation, model: Option<&str>) -> Option<usize> {
        let there = self.members.there(operation, model);
        (!there.is_empty()).then(|| self.members.places.free(&there))
    }

    fn expect_job(&self, operation: &Operation, model: Option<&str>) -> Option<Expected> {
        self.members.expect(operation, model)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        Judged::of(self.members.all(), &Wanted::by(request)?, &[]).first().map(drop)
    }

    fn plan<'a>(&'a self, request: &'a JobRequest) -> BoxFuture<'a, Result<Option<Value>, EngineError>> {
        Box::pin(async move {
            let member = Judged::of(self.members.all(), &Wanted::by(request)?, &[]).first()?;
            self.members.all[member].driver().plan(request).await
        })
    }

    fn memory(&self, job: &Job) -> u64 {
        self.members.all.iter().map(|member| member.driver().memory(job)).max().unwrap_or_default()
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let members = self.members.clone();
        if let Some(prepared) = members.carry_out_prepared(&job, &monitor) {
            return prepared;
        }
        let first = members.try_place(&job);
        Box::pin(async move { members.carry_out(job, monitor, first).await })
    }

    fn rescan(&self) -> BoxFuture<'_, ()> {
        future::join_all(self.members.all.iter().map(|member| member.driver().rescan())).map(drop).boxed()
    }

    fn discard<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        let discards = self.members.all.iter().map(|member| member.driver().discard(task, run));
        future::join_all(discards).map(drop).boxed()
    }

    fn interrupt<'a>(&'a self, task: &'a str, run: &'a str) -> BoxFuture<'a, ()> {
        let interrupts = self.members.all.iter().map(|member| member.driver().interrupt(task, run));
        future::join_all(interrupts).map(drop).boxed()
    }

    fn forget<'a>(&'a self, task: &'a str) -> BoxFuture<'a, ()> {
        future::join_all(self.members.all.iter().map(|member| member.driver().forget(task))).map(drop).boxed()
    }

    fn expire(&self, lifetime: Duration) -> BoxFuture<'_, Result<usize, EngineError>> {
        let expired = self.members.all.iter().map(|member| member.driver().expire(lifetime));
        future::join_all(expired).map(|counts| counts.into_iter().sum()).boxed()
    }
}
