//! Expanded prompts keep the prompt, respect the bounds, and are reproducible.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use imgopen_engine::{Engine, EngineError, Grade, Job, JobRequest, Monitor};
use imgopen_tools::Prompts;
use imgopen_tools::prompts::{Mode, Sampling, expand, tokens};
use imgopen_types::operations;
use proptest::prelude::*;
use serde_json::{Value, json};

fn greedy(sampling: &Sampling) -> Sampling {
    Sampling { temperature: 0.0, ..*sampling }
}

fn request(fields: &Value) -> Value {
    let mut request = json!({"businessTaskId": "1", "mode": 0, "sourcePrompt": "a girl"});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

fn check(request: &Value) -> Result<(), EngineError> {
    Prompts::new().check(&JobRequest::new("1", &operations::EXPAND_PROMPT, request.clone()))
}

async fn run(request: Value) -> Result<Vec<String>, EngineError> {
    check(&request)?;
    let job = Job::new(JobRequest::new("1", &operations::EXPAND_PROMPT, request), "run");
    Ok(Prompts::new().run(job, Monitor::new().0).await?.prompts)
}

async fn rejection(fields: Value) -> String {
    run(request(&fields)).await.unwrap_err().to_string()
}

#[tokio::test]
async fn each_mode_has_its_own_way_of_writing() {
    let offer = Prompts::new().offers().remove(0);
    assert_eq!((offer.operation.id, offer.grade), ("expand_prompt", Grade::Classical));
    let sd = run(request(&json!({"temperature": 0}))).await.unwrap();
    assert!(
        sd[0].starts_with("masterpiece, best quality, ") && sd[0].contains(", a girl, (detailed face:1.2), "),
        "{sd:?}"
    );
    let xl = run(request(&json!({"mode": 1, "temperature": 0}))).await.unwrap();
    assert!(xl[0].starts_with("a girl, ") && !xl[0].contains('('), "{xl:?}");
    // The id of the task makes no difference.
    let again = run(request(&json!({"businessTaskId": "another"}))).await.unwrap();
    assert_eq!(again, run(request(&json!({}))).await.unwrap());
    // A larger number begins with the same prompts.
    let more = run(request(&json!({"sequencesNum": 20}))).await.unwrap();
    assert_eq!((more[0].as_str(), more.iter().collect::<HashSet<_>>().len()), (again[0].as_str(), 20));
}

#[tokio::test]
async fn invalid_requests_are_rejected_by_field() {
    for (fields, expected) in [
        (json!({"sourcePrompt": " ,"}), "`sourcePrompt`: empty"),
        (json!({"sourcePrompt": "x".repeat(4001)}), "`sourcePrompt`: 4001 characters given"),
        (
            json!({"sourcePrompt": "a girl on a bench", "maxTokens": 3}),
            "`maxTokens`: 3 given, but the prompt of `sourcePrompt`",
        ),
        (json!({"minTokens": 50, "maxTokens": 40}), "`minTokens`: 50 given, but `maxTokens` is 40"),
        (json!({"minTokens": 1000}), "`minTokens`: 1000 given, but about "),
        (json!({"maxTokens": 0}), "`maxTokens`: 0 given"),
        (json!({"minTokens": -1}), "`minTokens`: -1 given"),
        (json!({"sequencesNum": 0}), "`sequencesNum`: 0 given, the engine takes a whole number from 1 to 20"),
        (json!({"sequencesNum": 21}), "`sequencesNum`: 21 given"),
        (json!({"sequencesNum": 2, "maxTokens": 2}), "`sequencesNum`: 2 given, but only 1 different"),
        (json!({"temperature": -0.1}), "`temperature`: -0.1 given"),
        (json!({"temperature": 11}), "`temperature`: 11 given"),
        (json!({"repetitionPenalty": 0}), "`repetitionPenalty`: 0 given"),
        (json!({"topK": 251}), "`topK`: 251 given"),
        (json!({"topP": 0}), "`topP`: 0 given"),
    ] {
        let message = rejection(fields.clone()).await;
        assert!(message.starts_with(expected), "{fields}: {message}");
        // Before the job too.
        assert_eq!(check(&request(&fields)).unwrap_err().to_string(), message, "{fields}");
    }
}

#[test]
fn settings_out_of_range_are_rejected() {
    let default = Sampling::default();
    for (sampling, count, expected) in [
        (Sampling { top_k: 251, ..default }, 1, "`topK`: 251 given"),
        (Sampling { top_p: 0.0, ..default }, 1, "`topP`: 0 given, a number from 0.01 to 1 expected"),
        (Sampling { temperature: f64::NAN, ..default }, 1, "`temperature`: NaN given, a number from 0 to 10 expected"),
        (Sampling { repetition_penalty: -1.0, ..default }, 1, "`repetitionPenalty`: -1 given"),
        (Sampling { max_tokens: 0, ..default }, 1, "`maxTokens`: 0 given"),
        (Sampling { max_tokens: 1001, ..default }, 1, "`maxTokens`: 1001 given"),
        (Sampling { min_tokens: 76, ..default }, 1, "`minTokens`: 76 given, but `maxTokens` is 75"),
        (default, 0, "`sequencesNum`: 0 given"),
        (default, usize::MAX, "`sequencesNum`: 18446744073709551615 given"),
    ] {
        let message = expand("a girl", Mode::Sd, &sampling, count).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}

/// If some prompts can be made long enough, their number is rejected, not their length.
#[test]
fn too_many_long_prompts_are_rejected_as_too_many() {
    let longest =
        |least: usize| Sampling { min_tokens: least, max_tokens: 1000, temperature: 0.0, ..Sampling::default() };
    let reached = (1..=1000).rev().find(|least| expand("a cat", Mode::Sd, &longest(*least), 1).is_ok()).unwrap();
    let message = expand("a cat", Mode::Sd, &longest(reached), 20).unwrap_err().to_string();
    assert!(message.starts_with("`sequencesNum`: 20 given, but only "), "{message}");
    let message = expand("a cat", Mode::Sd, &longest(reached + 1), 20).unwrap_err().to_string();
    assert!(message.starts_with(&format!("`minTokens`: {} given, but about {reached} is ", reached + 1)), "{message}");
}

#[test]
fn a_long_prompt_is_given_room_unless_the_caller_says_otherwise() {
    let long = "a quiet harbour with boats and nets, ".repeat(20);
    let serve = |fields: Value| check(&request(&fields));
    assert!(serve(json!({"sourcePrompt": long})).is_ok());
    assert!(serve(json!({"sourcePrompt": long, "maxTokens": 75})).is_err());
    // Only the prompt itself fits.
    let exact = Sampling { max_tokens: tokens("a girl"), ..Sampling::default() };
    assert_eq!(expand("a girl", Mode::Sd, &exact, 1).unwrap(), ["a girl"]);
}

#[test]
fn a_floor_is_reached() {
    for least in [20, 60, 75, 150, 200] {
        let sampling = Sampling { min_tokens: least, max_tokens: least + 20, ..Sampling::default() };
        let prompt = expand("a cat", Mode::Sd, &sampling, 1).unwrap().remove(0);
        assert!((least..=least + 20).contains(&tokens(&prompt)), "{least}: {}", tokens(&prompt));
    }
}

/// Modifiers do not contradict the prompt.
#[test]
fn modifiers_go_with_the_prompt() {
    let all = |source: &str| -> String {
        let sampling = Sampling { top_k: 0, top_p: 1.0, temperature: 3.0, ..Sampling::default() };
        let prompts = [Mode::Sd, Mode::Sdxl].map(|mode| expand(source, mode, &sampling, 20).unwrap().join("\n"));
        prompts.join("\n").to_lowercase()
    };
    let painted = all("an oil painting of a harbour at night");
    for wrong in ["photo", "lens", "bokeh", "anime", "golden hour", "render"] {
        assert!(!painted.contains(wrong), "{wrong}: {painted}");
    }
    let food = all("a bowl of ramen");
    assert!(food.contains("steam") && !food.contains("detailed face"), "{food}");
    let cat = all("a cat");
    assert!(cat.contains("fur") && !cat.contains("gentle smile"));
    let chinese = all("一个女孩，油画");
    assert!(
        chinese.contains("一个女孩，油画") && chinese.contains("delicate features") && !chinese.contains("photo"),
        "{chinese}"
    );
    // Modifiers that the prompt has are not added.
    assert_eq!(all("a girl, masterpiece, best quality").matches("best quality").count(), 40);
}

#[test]
fn the_penalty_avoids_what_was_said() {
    let said = |penalty: f64| {
        let sampling =
            Sampling { repetition_penalty: penalty, top_k: 0, top_p: 1.0, temperature: 1.0, ..Sampling::default() };
        let prompts = expand("a detailed drawing with soft lighting", Mode::Sd, &sampling, 20).unwrap().join(" ");
        prompts.matches("detailed").count() + prompts.matches("lighting").count()
    };
    let (avoided, free, sought) = (said(5.0), said(1.0), said(0.3));
    assert!(avoided < free && free < sought, "{avoided} {free} {sought}");
}

fn sampling() -> impl Strategy<Value = Sampling> {
    (0..=250_usize, 0.01..=1.0, 0.0..=10.0, 0.1..=10.0, 30..=200_usize, 0..=60_usize).prop_map(
        |(top_k, top_p, temperature, repetition_penalty, max_tokens, min_tokens)| Sampling {
            top_k,
            top_p,
            temperature,
            repetition_penalty,
            max_tokens,
            min_tokens: min_tokens.min(max_tokens - 15),
        },
    )
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Sd), Just(Mode::Sdxl)]
}

fn sources() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "a girl",
        "two cats on a roof",
        "a lighthouse at night",
        "机甲",
        "un chien dans la neige",
        "portrait of a knight",
        "(red:1.3) car",
        "sushi",
        "a rose",
        "nothing in particular",
        "кошка",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z]{1,8}( [a-z]{1,8}){0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn prompts_are_whole_bounded_distinct_and_the_same_again(
        source in sources(), mode in modes(), sampling in sampling(), count in 1..=6_usize
    ) {
        let prompts = expand(&source, mode, &sampling, count).unwrap();
        prop_assert_eq!(prompts.len(), count);
        prop_assert_eq!(prompts.iter().collect::<HashSet<_>>().len(), count);
        for prompt in &prompts {
            prop_assert!(prompt.contains(&source), "{}", prompt);
            let length = tokens(prompt);
            prop_assert!(length <= sampling.max_tokens && length >= sampling.min_tokens, "{}: {}", length, prompt);
        }
        prop_assert_eq!(&prompts, &expand(&source, mode, &sampling, count).unwrap());
        prop_assert_eq!(&prompts[..1], &expand(&source, mode, &sampling, 1).unwrap()[..]);
    }

    /// Settings that leave one choice take the likeliest.
    #[test]
    fn the_narrowest_settings_are_greedy(source in sources(), mode in modes(), sampling in sampling()) {
        let expected = expand(&source, mode, &greedy(&sampling), 3).unwrap();
        let narrow = [
            Sampling { top_k: 1, ..sampling },
            Sampling { temperature: 1e-9, ..sampling },
            Sampling { top_p: 0.01, temperature: 0.2, ..sampling },
        ];
        for narrow in narrow {
            prop_assert_eq!(&expand(&source, mode, &narrow, 3).unwrap(), &expected);
        }
    }

    /// Any text of a caller is handled.
    #[test]
    fn any_text_is_kept(source in "\\PC{1,80}", mode in modes()) {
        match expand(&source, mode, &Sampling { max_tokens: 400, ..Sampling::default() }, 2) {
            Ok(prompts) => {
                let kept = source.trim().trim_end_matches(',').trim_end();
                prop_assert!(prompts.iter().all(|prompt| prompt.contains(kept)));
            }
            Err(error) => prop_assert!(error.to_string().starts_with("`sourcePrompt`: empty"), "{}", error),
        }
    }
}
