//! Several back ends as one engine: which one gets a job, devices, and members that are away. In virtual time, so that a job takes
//! exactly as long as it says.

mod member;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use imgopen_backends::{Backend, BackendSettings, Driver, Fleet, Kind, SdWebui};
use imgopen_engine::{Devices, Engine, EngineError, ModelKind, Monitor, Slots};
use imgopen_types::operations::{OUTPAINT, TEXT_TO_IMAGE};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::fake::{Behaviour, Fake};
use crate::targets::{DEADLINE, QUICK, settings, until};
use member::{JOB, Member, fleet, fleet_with, job, request, start};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn unavailable(reason: &str) -> EngineError {
    EngineError::Unavailable { reason: reason.to_owned(), retry_after: None }
}

/// Lets all tasks go on until each of them waits.
async fn settled() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn throughput_grows_with_the_members() {
    for (count, jobs) in [(1, 8), (2, 4), (4, 2)] {
        let members: Vec<_> = (0..count).map(|index| Member::new(&format!("m{index}"), &["a"])).collect();
        let fleet = fleet(&members.iter().collect::<Vec<_>>());
        let begin = Instant::now();
        let runs: Vec<_> = (0..8).map(|index| start(&fleet, &format!("t{index}"), "a")).collect();
        assert!(join_all(runs).await.into_iter().all(|result| result.unwrap().is_ok()));
        assert_eq!(begin.elapsed().as_secs(), JOB.as_secs() * jobs, "{count} members");
        for member in &members {
            assert_eq!((member.tasks().len() as u64, member.state().most), (jobs, 1));
        }
        assert_eq!(fleet.slots(), Slots::Own(NonZeroUsize::new(count).unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_wait_in_the_order_in_which_they_came() {
    let (one, two) = (Member::new("one", &["a", "b"]), Member::new("two", &["a"]).with(|own| own.jobs = TWO));
    let fleet = fleet(&[&one, &two]);
    let mut runs: Vec<_> = (0..9).map(|index| start(&fleet, &index.to_string(), "a")).collect();
    // It can only be done by the first, and keeps no other from the second.
    runs.push(start(&fleet, "only one", "b"));
    runs.push(start(&fleet, "last", "a"));
    for run in runs {
        assert!(run.await.unwrap().is_ok());
    }
    let mut begun: Vec<_> = [&one, &two].iter().flat_map(|member| member.state().begun.clone()).collect();
    begun.sort_by_key(|(_, at)| *at);
    let round = |index: usize| {
        let mut tasks: Vec<_> = begun.iter().skip(index * 3).take(3).map(|(task, _)| task.as_str()).collect();
        tasks.sort_unstable();
        tasks
    };
    assert_eq!((round(0), round(1)), (vec!["0", "1", "2"], vec!["3", "4", "5"]));
    assert_eq!((round(2), round(3)), (vec!["6", "7", "8"], vec!["last", "only one"]));
    assert!(one.tasks().contains(&"only one".to_owned()) && two.state().most == 2);
}

#[tokio::test(start_paused = true)]
async fn the_member_that_has_the_model_in_memory_is_preferred() {
    let (one, two) = (Member::new("one", &["a"]), Member::new("two", &["a"]));
    two.state().loaded = Some("a");
    let fleet = fleet(&[&one, &two]);
    let runs = ["first", "second"].map(|task| start(&fleet, task, "a"));
    assert_eq!(join_all(runs).await.into_iter().map(|run| run.unwrap().unwrap()).collect::<Vec<_>>(), ["two", "one"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_member_that_goes_away_is_done_by_another() {
    let (one, two) = (Member::new("one", &["a"]), Member::new("two", &["a"]));
    let fleet = fleet(&[&one, &two]);
    one.state().ends.push_back(unavailable("it was killed"));
    assert_eq!(start(&fleet, "1", "a").await.unwrap().unwrap(), "two");
    assert_eq!((one.tasks(), two.tasks()), (vec!["1".to_owned()], vec!["1".to_owned()]));
    // What it may still have of the job is of no use.
    settled().await;
    assert_eq!((one.state().calls.clone(), two.state().calls.clone()), (vec!["discard 1".to_owned()], vec![]));
    // What is away is not tried.
    one.state().away = Some("it does not answer".to_owned());
    assert_eq!(start(&fleet, "2", "a").await.unwrap().unwrap(), "two");
    assert_eq!(one.tasks().len(), 1);
    one.state().away = None;
    // Each is tried once.
    one.state().ends.push_back(unavailable("it was killed"));
    two.state().ends.push_back(unavailable("the back end `two` hangs"));
    assert_eq!(start(&fleet, "3", "a").await.unwrap(), Err(unavailable("the back end `two` hangs")));
    assert_eq!((one.tasks().len(), two.tasks().len()), (2, 3));
    // Other ends are final.
    for end in [EngineError::Failed("out of memory".to_owned()), EngineError::rejected("steps", "too many")] {
        one.state().ends.push_back(end.clone());
        assert_eq!(start(&fleet, "4", "a").await.unwrap(), Err(end));
    }
    assert_eq!(two.tasks().len(), 3);
    settled().await;
    assert_eq!(fleet.backends().iter().map(|backend| backend.jobs).sum::<usize>(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_member_that_is_busy_and_takes_one_that_comes_back() {
    let (one, two) = (Member::new("one", &["a"]), Member::new("two", &["a"]));
    two.state().away = Some("it does not answer".to_owned());
    let fleet = fleet(&[&one, &two]);
    let (first, second) = (start(&fleet, "1", "a"), start(&fleet, "2", "a"));
    settled().await;
    assert_eq!((one.tasks().len(), two.tasks().len()), (1, 0));
    two.state().away = None;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(two.tasks(), ["2"]);
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    // All of them.
    for member in [&one, &two] {
        member.state().away = Some("it does not answer".to_owned());
    }
    let error = start(&fleet, "3", "a").await.unwrap().unwrap_err();
    let reason = "the back end `one` is away: it does not answer; the back end `two` is away: it does not answer";
    assert_eq!(error, unavailable(reason));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_the_work_has_really_ended() {
    let one = Member::new("one", &["a"]);
    one.state().lingers = Duration::from_secs(60);
    let fleet = fleet(&[&one]);
    let (monitor, watch) = Monitor::new();
    let run = tokio::spawn(fleet.run(job("1", "a"), monitor));
    settled().await;
    watch.cancel.cancel();
    assert_eq!(run.await.unwrap(), Err(EngineError::Cancelled));
    assert_eq!(fleet.free_places(&TEXT_TO_IMAGE, Some("a")), Some(0));
    let next = start(&fleet, "2", "a");
    sleep(Duration::from_secs(59)).await;
    assert_eq!(one.tasks(), ["1"]);
    // The service learns of the end only then.
    watch.ended().await;
    assert!(next.await.unwrap().is_ok());
    // A job that is given up while it waits leaves nothing behind.
    let (busy, waiting) = (start(&fleet, "3", "a"), start(&fleet, "4", "a"));
    settled().await;
    waiting.abort();
    assert!(busy.await.unwrap().is_ok() && start(&fleet, "5", "a").await.unwrap().is_ok());
    assert_eq!(one.tasks(), ["1", "2", "3", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_runs_one_job_at_a_time_across_engines() {
    let devices = Devices::default();
    let on = |name: &str, device: Option<&str>| {
        Member::new(name, &["a"]).with(|own| (own.device, own.jobs) = (device.map(str::to_owned), TWO))
    };
    let (one, other) = (on("one", Some("gpu0")), on("other", Some("gpu0")).with(|own| own.kind = Some(Kind::SdWebui)));
    let fleets = Fleet::of(vec![one.backend(), other.backend()], &devices).unwrap();
    assert_eq!(fleets.iter().map(Engine::name).collect::<Vec<_>>(), ["comfyui", "sd-webui"]);
    let begin = Instant::now();
    let runs = (0..4).map(|index| start(&fleets[index % 2], &index.to_string(), "a"));
    assert!(join_all(runs.collect::<Vec<_>>()).await.into_iter().all(|run| run.unwrap().is_ok()));
    assert_eq!(begin.elapsed().as_secs(), 4 * JOB.as_secs());
    let mut begun: Vec<_> = [&one, &other].iter().flat_map(|member| member.state().begun.clone()).collect();
    begun.sort_by_key(|(_, at)| *at);
    assert_eq!(begun.iter().map(|(task, _)| task.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    // Each job follows one of the other, whose memory is freed first.
    assert_eq!((one.state().freed, other.state().freed), (2, 2));
    // So does a training.
    let training = devices.take("gpu0", "trainer").await;
    assert_eq!((one.state().freed, other.state().freed), (3, 3));
    assert_eq!(fleets[0].free_places(&TEXT_TO_IMAGE, Some("a")), Some(0));
    let waiting = start(&fleets[0], "5", "a");
    sleep(JOB * 5).await;
    assert_eq!(one.tasks().len(), 2);
    drop(training);
    assert!(waiting.await.unwrap().is_ok());
    // A job that would wait for a long training is given back.
    let _training = devices.take("gpu0", "trainer").await;
    let begin = Instant::now();
    let error = start(&fleets[0], "6", "a").await.unwrap().unwrap_err();
    assert_eq!(error, EngineError::Busy("the devices of the back ends are in use by something else".to_owned()));
    assert!((60..63).contains(&begin.elapsed().as_secs()));
    assert_eq!(fleets[0].free_places(&TEXT_TO_IMAGE, Some("a")), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_device_is_taken_keeps_no_job_from_a_free_one() {
    let devices = Devices::default();
    let one = Member::new("one", &["a"]).with(|own| own.device = Some("gpu0".to_owned()));
    let two = Member::new("two", &["a"]);
    one.state().loaded = Some("a");
    let fleet = fleet_with(&[&one, &two], &devices);
    let training = devices.take("gpu0", "trainer").await;
    let runs = ["1", "2", "3"].map(|task| start(&fleet, task, "a"));
    sleep(JOB + JOB / 2).await;
    assert_eq!((one.tasks().len(), two.tasks().len()), (0, 2));
    drop(training);
    assert!(join_all(runs).await.into_iter().all(|run| run.unwrap().is_ok()));
    // The third had waited for the device and got it.
    assert_eq!((one.tasks(), two.tasks().len()), (vec!["3".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn a_model_is_busy_while_no_member_that_has_it_is_free() {
    let (one, two) = (Member::new("one", &["a", "both"]), Member::new("two", &["b", "both"]));
    let fleet = fleet(&[&one, &two]);
    let free = || ["a", "b", "both"].map(|model| fleet.free_places(&TEXT_TO_IMAGE, Some(model)));
    assert_eq!(free(), [Some(1), Some(1), Some(2)]);
    // Counted before the job is polled.
    let run = fleet.run(job("1", "a"), Monitor::new().0);
    assert_eq!(free(), [Some(0), Some(1), Some(1)]);
    drop(run);
    assert_eq!(free(), [Some(1), Some(1), Some(2)]);
    assert_eq!((fleet.free_places(&OUTPAINT, None), fleet.free_places(&TEXT_TO_IMAGE, Some("c"))), (None, None));
    // Nothing waits for a place of what is away.
    one.state().away = Some("it does not answer".to_owned());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(free(), [None, Some(1), Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_checked_by_the_members_that_could_do_it() {
    let (one, two) = (Member::new("one", &["a"]), Member::new("two", &["a", "b"]));
    let fleet = fleet(&[&one, &two]);
    let check = |model: &str| fleet.check(&request("1", model));
    let plan = async |model: &str| fleet.plan(&request("1", model)).await.unwrap().unwrap();
    let rejected = |problem: &str| EngineError::rejected("module", problem);
    assert_eq!((check("a"), plan("a").await, plan("b").await), (Ok(()), json!("one"), json!("two")));
    // One that lacks what the request needs leaves it to the other, even while that is away.
    one.state().refuses = Some(rejected("not installed in `one`"));
    assert_eq!((check("a"), plan("a").await), (Ok(()), json!("two")));
    two.state().away = Some("it does not answer".to_owned());
    assert_eq!((check("a"), plan("a").await), (Ok(()), json!("two")));
    let error = start(&fleet, "1", "a").await.unwrap().unwrap_err();
    assert_eq!(error, unavailable("the back end `two` is away: it does not answer"));
    // What has never answered is asked only if there is no other.
    two.state().is_new = true;
    assert_eq!(check("a"), Err(rejected("not installed in `one`")));
    assert_eq!(check("b"), Ok(()));
    two.state().is_new = false;
    two.state().away = None;
    two.state().refuses = Some(unavailable("no"));
    assert_eq!(check("a"), Err(rejected("not installed in `one`")));
    one.state().refuses = Some(unavailable("no"));
    two.state().refuses = Some(rejected("not installed in `two`"));
    assert_eq!(check("a"), Err(rejected("not installed in `two`")), "what the caller can mend comes first");
}

#[tokio::test]
async fn a_fleet_is_described_by_its_members() {
    let (one, second) = (Member::new("one", &["a"]), Member::new("second", &["a"]).with(|own| own.jobs = TWO));
    second.state().away = Some("it does not answer".to_owned());
    let fleet = fleet(&[&one, &second]);
    let run = fleet.run(job("1", "a"), Monitor::new().0);
    let backends = fleet.backends();
    let seen: Vec<_> = backends.iter().map(|own| (own.name.as_str(), own.away.is_some(), own.jobs)).collect();
    assert_eq!(seen, [("one", false, 1), ("second", true, 0)]);
    assert_eq!((backends[0].program.as_str(), &backends[0].operations[..]), ("a test", &["text_to_image"][..]));
    assert_eq!((fleet.reports().len(), fleet.slots()), (2, Slots::Own(NonZeroUsize::new(3).unwrap())));
    let loras = fleet.models().into_iter().filter(|model| model.kind == ModelKind::Lora);
    assert_eq!(loras.map(|model| model.name).collect::<Vec<_>>(), ["shared", "one", "second"]);
    assert_eq!(fleet.memory(&job("1", "a")), 6, "that of the member that takes most");
    drop(run);
    fleet.discard("1", "run").await;
    fleet.interrupt("2", "run").await;
    fleet.forget("3").await;
    for member in [&one, &second] {
        assert_eq!(member.state().calls, ["discard 1", "interrupt 2", "forget 3"]);
    }
}

#[tokio::test]
async fn groups_are_of_one_kind_and_names_are_unique() {
    let member = |name: &str, kind: Kind, group: Option<&str>| {
        let own = Member::new(name, &["a"]);
        own.with(|own| (own.kind, own.group) = (Some(kind), group.map(str::to_owned))).backend()
    };
    let fleets = |backends: Vec<Backend>| Fleet::of(backends, &Devices::default());
    let grouped = fleets(vec![
        member("1", Kind::ComfyUi, None),
        member("2", Kind::SdWebui, None),
        member("3", Kind::ComfyUi, Some("fast")),
        member("4", Kind::ComfyUi, None),
    ]);
    let names: Vec<_> = grouped.unwrap().iter().map(|fleet| (fleet.name().to_owned(), fleet.reports().len())).collect();
    assert_eq!(names, [("comfyui".to_owned(), 2), ("sd-webui".to_owned(), 1), ("fast".to_owned(), 1)]);
    let mixed = fleets(vec![member("1", Kind::ComfyUi, Some("all")), member("2", Kind::SdWebui, Some("all"))]);
    assert!(mixed.unwrap_err().starts_with("the group `all` has back ends of the kinds `comfyui` and `sd-webui`"));
    let twice = fleets(vec![member("1", Kind::ComfyUi, None), member("1", Kind::SdWebui, None)]);
    assert!(twice.unwrap_err().starts_with("two back ends have the name `1`"));
}

/// Real drivers, and programs that end.
#[tokio::test]
async fn a_picture_is_made_by_the_web_ui_that_is_left() {
    let (mut fakes, mut backends, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
    for name in ["left", "right"] {
        let fake = Fake::start(Behaviour { step: Duration::from_millis(5), ..Behaviour::default() }).await;
        let settings = BackendSettings { name: Some(name.to_owned()), ..settings(&fake.url) };
        let driver = Arc::new(SdWebui::with_timing(settings, QUICK).unwrap());
        backends.push(Backend::with_driver(Kind::SdWebui, driver.clone()));
        drivers.push(driver);
        fakes.push(fake);
    }
    let fleet = Fleet::of(backends, &Devices::default()).unwrap().remove(0);
    until("both answer", async || fleet.reports().iter().all(|report| report.away.is_none())).await;
    let model = fleet.reports()[0].models[0].clone();
    let long = crate::jobs::text_to_image(&model, json!({"steps": 500}));
    fleet.check(&long).unwrap();
    let run = tokio::spawn(fleet.run(crate::jobs::job(long), Monitor::new().0));
    until("the first works", async || fakes[0].current().is_some()).await;
    fakes[1].set(|behaviour| behaviour.step = Duration::ZERO);
    drop(fakes.remove(0));
    let output = tokio::time::timeout(DEADLINE, run).await.expect("the job ends").unwrap().unwrap();
    assert_eq!((output.pictures.len(), fakes[0].calls().len()), (1, 1));
    until("its absence is known", async || fleet.backends()[0].away.is_some()).await;
    drop(fakes);
    assert!(!drivers[1].refresh().await);
    assert!(fleet.offers().iter().all(|offer| offer.away.is_some()));
    let away = fleet.offers().remove(0).away.unwrap();
    assert!(away.contains("`left`") && away.contains("`right`") && !away.contains("127.0.0.1"), "{away}");
    assert!(fleet.offers().iter().all(|offer| offer.is_known));
}
