//! Defaults, and settings that are rejected.

use proptest::option;
use proptest::prelude::*;

use super::*;

#[test]
fn the_ladder_is_the_published_one() {
    let settings = Settings::default();
    let pauses: Vec<_> = (1..=10).map(|tries| settings.callback_pause(tries).map(|pause| pause.as_secs())).collect();
    let expected = [3, 5, 15, 30, 60, 600, 3600, 3600, 3600].map(Some);
    assert_eq!(pauses[..9], expected);
    assert_eq!(pauses[9], None);
}

#[test]
fn open_needs_loopback() {
    let open = Settings { open: true, ..Settings::default() };
    assert_eq!(open.check(), Ok(()));
    let exposed = Settings { listen: "0.0.0.0:80".parse().unwrap(), ..open };
    assert!(exposed.check().unwrap_err().to_string().starts_with("`open`: callers without keys"));
}

#[test]
fn an_invalid_setting_is_named() {
    let idle = Settings { workers: 0, ..Settings::default() };
    assert_eq!(idle.check().unwrap_err().to_string(), "`workers`: 0 given; give at least 1");
    let mut typo = Settings::default();
    typo.time_limit.operations.insert("enlarge".into(), Limit(Duration::from_secs(1)));
    assert!(typo.check().unwrap_err().to_string().starts_with("`time_limit.operations.enlarge`: no operation"));
}

#[test]
fn a_public_url_can_be_followed_by_a_path() {
    let at = |url: &str| Settings { public_url: Some(url.to_owned()), ..Settings::default() };
    assert_eq!(at("HTTPS://images.example.com/base/").check(), Ok(()));
    let error = at("https://x.example/base/?q=1").check().unwrap_err().to_string();
    assert!(error.starts_with("`public_url`: the URL has a query") && error.ends_with("`https://x.example/base`"));
}

#[test]
fn pages_are_allowed_by_origin_and_not_all_of_them_without_keys() {
    let with = |origins: &[&str], open: bool| {
        let allow_origin = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Settings { allow_origin, open, ..Settings::default() }.check()
    };
    assert_eq!(with(&["*"], false), Ok(()));
    assert_eq!(with(&["https://app.example.com", "http://localhost:3000"], true), Ok(()));
    for origins in [&["*"][..], &["https://app.example.com", "*"]] {
        let error = with(origins, true).unwrap_err().to_string();
        assert!(error.starts_with("`allow_origin`: \"*\" would let every page"), "{error}");
    }
    let error = with(&["https://app.example.com", "app.example.com"], false).unwrap_err().to_string();
    assert!(error.starts_with("`allow_origin`: \"app.example.com\" is not an origin"), "{error}");
}

#[test]
fn a_list_is_also_a_text_with_commas() {
    let read = |settings: serde_json::Value| serde_json::from_value::<Settings>(settings);
    let settings = read(serde_json::json!({
        "allow_origin": "https://app.example.com",
        "allow_network": "10.1.0.0/16, 127.0.0.1",
        "required": "enlarge_image,",
        "callbacks": {"pauses": "3s, 1m"},
    }));
    let settings = settings.unwrap();
    assert_eq!(settings.allow_origin, ["https://app.example.com"]);
    assert_eq!(
        settings.allow_network,
        ["10.1.0.0/16", "127.0.0.1/32"].map(|network| network.parse::<IpNet>().unwrap())
    );
    assert_eq!(settings.required, ["enlarge_image"]);
    assert_eq!(settings.callbacks.pauses, [3, 60].map(|seconds| Limit(Duration::from_secs(seconds))));
    let list = read(serde_json::json!({"allow_origin": ["https://a.example", "https://b.example"]})).unwrap();
    assert_eq!(list.allow_origin.len(), 2);
    let wrong = read(serde_json::json!({"allow_network": "10.1.0.0/16, home"})).unwrap_err().to_string();
    assert!(wrong.contains("\"home\" is not a network; give one such as 10.1.0.0/16"), "{wrong}");
    let wrong = read(serde_json::json!({"allow_origin": 7})).unwrap_err().to_string();
    assert!(wrong.contains("expected a list such as") && wrong.contains("commas"), "{wrong}");
}

#[test]
fn what_is_required_is_an_operation() {
    let requiring = |id: &str| Settings { required: vec![id.to_owned()], ..Settings::default() };
    assert_eq!(requiring("text_to_image").check(), Ok(()));
    let error = requiring("text2image").check().unwrap_err().to_string();
    assert!(error.starts_with("`required`: no operation has the id \"text2image\""), "{error}");
}

#[test]
fn a_training_has_a_day() {
    let settings = Settings::default();
    let limits = ["submit_training", "enlarge_image"].map(|operation| settings.time_limit(operation).as_secs());
    assert_eq!(limits, [24 * 60 * 60, 600]);
    let attempts = ["submit_training", "enlarge_image"].map(|operation| settings.attempts(operation));
    assert_eq!(attempts, [10, 3]);
}

#[test]
fn trainings_leave_memory_to_others() {
    let mut settings = Settings::default();
    settings.training.memory = settings.pictures.memory - 1;
    assert_eq!(settings.check(), Ok(()));
    settings.training.memory += 1;
    assert!(settings.check().unwrap_err().to_string().starts_with("`training.memory`: 1073741824 given"));
}

#[test]
fn nets_have_a_bounded_number_of_threads() {
    let with = |threads| {
        let mut settings = Settings::default();
        settings.nets.threads = threads;
        settings.check().err().map(|error| error.to_string())
    };
    assert_eq!([None, Some(1), Some(4096)].map(with), [None, None, None]);
    assert_eq!(with(Some(0)).as_deref(), Some("`nets.threads`: 0 given; give at least 1"));
    assert_eq!(with(Some(4097)).as_deref(), Some("`nets.threads`: 4097 given; give at most 4096"));
}

#[test]
fn providers_need_a_library() {
    let mut settings = Settings::default();
    settings.nets.providers = vec!["cuda".to_owned()];
    let error = settings.check().unwrap_err().to_string();
    assert!(error.starts_with("`nets.providers`: they are of ONNX Runtime, which is not used; "), "{error}");
    settings.nets.library = Some("/opt/libonnxruntime.so".into());
    assert_eq!(settings.check(), Ok(()));
}

#[test]
fn one_place_for_fetching_is_not_enough() {
    let mut settings = Settings::default();
    assert_eq!([1, 2, 16, usize::MAX].map(|slots| settings.fetching(slots)), [2, 4, 32, MOST_RUNS]);
    settings.queue.fetching = Some(1);
    assert!(settings.check().unwrap_err().to_string().starts_with("`queue.fetching`: 1 given; give at least 2"));
}

proptest! {
    #[test]
    fn numbers_of_runs_are_bounded(
        workers in prop_oneof![0..4usize, 4090..4100usize, Just(usize::MAX)],
        fetching in option::of(prop_oneof![0..4usize, 4090..4100usize, Just(usize::MAX)]),
    ) {
        let mut settings = Settings { workers, ..Settings::default() };
        settings.queue.fetching = fetching;
        let is_valid = (1..=4096).contains(&workers) && fetching.is_none_or(|count| (2..=4096).contains(&count));
        prop_assert_eq!(settings.check().is_ok(), is_valid, "{:?}", settings.check());
        let places = settings.fetching(workers);
        prop_assert!(!is_valid || (2..=4096).contains(&places));
    }

    /// A key takes a place while it holds fewer than are free. Alone, it gets one for each slot.
    #[test]
    fn a_single_key_fetches_for_all_slots(slots in 1..=2048usize) {
        let places = Settings::default().fetching(slots);
        let held = (0..places).find(|held| *held >= places - held).unwrap_or(places);
        prop_assert!(held >= slots, "{held} of {places} places for {slots} slots");
    }
}
