//! Every operation in every state, read back by the contract's types.

use imgopen_store::{AssetToken, KeyId, Moment, StoredFile, StoredLabel, StoredPicture, TaskId, TaskOutput};
use imgopen_types::{
    Callback, DescribeImageResponse, ExpandPromptResponse, Face, FaceBox, FluxTextToImageResponse, InstantIdResponse,
    JobReport, JobState, QueryArchivedTaskResponse, QueryTaskResponse, QueryToolTaskResponse, QueryTrainingResponse,
    RestoreFaceResponse, StyleLabel, SubmitTrainingResponse, SwapFaceResponse, SwapFaceV2Response, TextToImageResponse,
    ToolStatus,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn urls() -> Urls {
    Urls { base: "https://images.example.com".into() }
}

fn vendors() -> Vec<&'static Operation> {
    let vendors = operations::ALL.iter().copied().filter(|operation| operation.document == "imgopen");
    vendors.filter(|operation| operation.job.is_some() || **operation == operations::EXPAND_PROMPT).collect()
}

fn output() -> TaskOutput {
    let picture =
        |name: &str, seed| StoredPicture { token: AssetToken(name.into()), width: 8, height: 8, seed, audit: None };
    let face_box = FaceBox { x: 1, y: 2, width: 3, height: 4 };
    TaskOutput {
        pictures: vec![picture("one.png", Some(7)), picture("two.png", None)],
        caption: Some("a cat".into()),
        prompts: vec!["a cat, sharp".into()],
        style_labels: Some(vec![StyleLabel { label: "ink".into(), confidence: Some(0.5) }]),
        faces: Some(vec![Face { index: 1, box_: face_box, score: None, landmarks: None }]),
        files: vec![StoredFile { token: AssetToken("l.safetensors".into()), name: "ink.safetensors".into(), bytes: 7 }],
        // The vendor's answers have no place for notes.
        notes: vec!["a note".into()],
    }
}

fn row(operation: &Operation, state: State) -> TaskRow {
    let failure = match state {
        State::Failed => Some("the engine failed".to_owned()),
        State::Cancelled => Some("cancelled by the caller".to_owned()),
        _ => None,
    };
    TaskRow {
        seq: 1,
        id: TaskId("img1769904000000123456789".into()),
        key: KeyId("a".into()),
        operation: operation.id.to_owned(),
        caller_id: "mine-1".into(),
        request: "{}".into(),
        needs: operation.id.to_owned(),
        options: None,
        run: None,
        owner: None,
        callback_url: None,
        state,
        attempt: 1,
        output: (state == State::Succeeded).then(output),
        failure,
        engine: None,
        grade: None,
        created_at: Moment(0),
        started_at: None,
        finished_at: state.is_final().then_some(Moment(1)),
        plan: None,
        deferrals: 0,
        deferred_at: None,
        deferred_for: std::time::Duration::ZERO,
        crashes_alone: 0,
    }
}

/// The state that the contract's types should read from a generation.
fn generation(state: State) -> JobState {
    match state {
        State::Queued => JobState::Queued,
        State::Running => JobState::Running,
        State::Succeeded => JobState::Succeeded,
        State::Failed => JobState::Failed,
        State::Cancelled => JobState::Cancelled,
    }
}

fn tool(state: State) -> JobState {
    match state {
        State::Queued | State::Running => JobState::Running,
        State::Succeeded => JobState::Succeeded,
        State::Failed | State::Cancelled => JobState::Failed,
    }
}

fn asked<'a>(task: &'a TaskRow, live: Option<&'a Live>, urls: &'a Urls) -> Report<'a> {
    Report { task, asked: "mine-1", live, urls }
}

fn read_back<T: Answer>(answer: T) -> T {
    imgopen_types::read(&serde_json::to_vec(&answer).unwrap()).unwrap()
}

/// The answer to the submit, as it goes over the wire.
fn accepted_json(task: &TaskRow) -> Value {
    macro_rules! as_type {
        ($type:ident) => {
            serde_json::to_value(read_back(accepted::<$type>(task, &urls()).unwrap())).unwrap()
        };
    }
    match task.operation.as_str() {
        "submit_training" => as_type!(SubmitTrainingResponse),
        "flux_text_to_image" => as_type!(FluxTextToImageResponse),
        "swap_face" => as_type!(SwapFaceResponse),
        "swap_face_v2" => as_type!(SwapFaceV2Response),
        "instant_id" => as_type!(InstantIdResponse),
        "describe_image" => as_type!(DescribeImageResponse),
        "text_to_image" | "image_to_image" | "controlnet" => as_type!(TextToImageResponse),
        // All others answer with the id only.
        _ => as_type!(RestoreFaceResponse),
    }
}

#[test]
fn a_submit_is_answered_with_ids_and_no_result_in_any_state() {
    let jobs = vendors().into_iter().filter(|operation| operation.job.is_some());
    for (operation, state) in jobs.flat_map(|operation| State::ALL.map(|state| (operation, state))) {
        let task = row(operation, state);
        let answer = accepted_json(&task);
        assert_eq!((&answer["code"], &answer["msg"]), (&json!("200"), &json!("success")), "{}", operation.id);
        if *operation == operations::SUBMIT_TRAINING {
            continue;
        }
        let data = &answer["data"];
        let id = data.get("taskId").or(data.get("task_id")).unwrap();
        assert_eq!(id, &json!(task.id), "{}", operation.id);
        if let Some(status) = data.get("status") {
            assert_eq!(ToolStatus::from(status.as_i64().unwrap()).state(), JobState::Running, "{}", operation.id);
        }
        for result in ["outputImageUrl", "caption"] {
            assert!(data.get(result).is_none(), "{} has {result}", operation.id);
        }
    }
}

proptest! {
    /// Queries and pushes of any task have its state, its ids and its result.
    #[test]
    fn queries_and_pushes_round_trip(
        operation in select(vendors()),
        state in select(State::ALL.to_vec()),
        reason in "\\PC{1,40}",
        percent in 0.0..100.0f64,
    ) {
        let mut task = row(operation, state);
        task.failure = task.failure.map(|_| reason.clone());
        let live = Live { percent, ..Live::default() };
        let (live, urls) = ((state == State::Running).then_some(&live), urls());
        let report = asked(&task, live, &urls);
        let desc = report.desc();
        let percent = match state {
            State::Succeeded => 100.0,
            State::Running => percent,
            _ => 0.0,
        };
        match operation.job.as_ref().map(|job| job.query) {
            Some("query_task") => {
                let data = read_back(report.answer::<QueryTaskResponse>().unwrap()).data;
                prop_assert_eq!(data.state(), generation(state));
                prop_assert_eq!(&data.id_task, "mine-1");
                prop_assert_eq!(data.desc(), Some(desc.as_str()));
                prop_assert_eq!(data.differential_image_rsp_list.is_some(), state == State::Succeeded);
                if state.is_final() {
                    let data = read_back(report.answer::<QueryArchivedTaskResponse>().unwrap()).data;
                    prop_assert_eq!((data.state(), data.task_id), (generation(state), task.id.0.clone()));
                }
            }
            Some("query_training") => {
                let data = read_back(report.answer::<QueryTrainingResponse>().unwrap()).data;
                prop_assert_eq!(data.state(), generation(state));
                prop_assert_eq!((&data.task_id, data.progress()), (&"mine-1".to_owned(), Some(percent)));
                let is_there = state == State::Succeeded;
                let url = is_there.then(|| urls.asset(&AssetToken("l.safetensors".into())));
                let name = is_there.then(|| "ink.safetensors".to_owned());
                prop_assert_eq!((data.model_name, data.model_url), (name, url));
            }
            _ => {
                let data = read_back(report.answer::<QueryToolTaskResponse>().unwrap()).data;
                prop_assert_eq!((&data.task_id, &data.business_task_id), (&task.id.0, &"mine-1".to_owned()));
                prop_assert_eq!(data.progress(), Some(percent));
                prop_assert_eq!(data.desc(), Some(desc.as_str()));
                // Prompt expansion has its own scale, in which 0 is success.
                if *operation != operations::EXPAND_PROMPT {
                    prop_assert_eq!(data.state(), tool(state));
                }
                prop_assert_eq!(data.output_image_url.is_some(), state == State::Succeeded);
            }
        }
        let expected_desc = match state {
            State::Failed | State::Cancelled => reason,
            State::Succeeded => "success".to_owned(),
            other => other.to_string(),
        };
        prop_assert_eq!(desc, expected_desc);
        prop_assert_eq!(operation.callback.is_some(), pushed(operation, &task, &urls).is_some());
        if let Some(body) = pushed(operation, &task, &urls) {
            let callback = Callback::read(operation.id, body.to_string().as_bytes()).unwrap().unwrap();
            let family = if *operation == operations::SUBMIT_TRAINING { generation } else { tool };
            prop_assert_eq!((callback.operation(), callback.state()), (operation, family(state)));
        }
    }
}

#[test]
fn a_preview_is_shown_during_a_run_and_null_otherwise() {
    let (urls, task) = (urls(), row(&operations::TEXT_TO_IMAGE, State::Running));
    let shown = |task: &TaskRow, live: Option<&Live>| {
        let answer: QueryTaskResponse = asked(task, live, &urls).answer().unwrap();
        serde_json::to_value(answer).unwrap()["data"]["temporaryImageDto"].clone()
    };
    let preview = Some(urls.preview(&AssetToken("p.png".into())));
    let live = Live { percent: 40.0, preview, ..Live::default() };
    let expected = json!({"progress": 40, "imageUrl": "https://images.example.com/previews/p.png"});
    assert_eq!(shown(&task, Some(&live)), expected);
    assert_eq!(shown(&task, Some(&Live { preview: None, ..live.clone() })), json!({"progress": 40}));
    assert_eq!(shown(&task, None), Value::Null);
    for state in State::ALL.into_iter().filter(|state| *state != State::Running) {
        assert_eq!(shown(&row(&operations::TEXT_TO_IMAGE, state), Some(&live)), Value::Null, "{state}");
    }
}

#[test]
fn a_training_is_reported_with_the_callers_id_and_its_epochs() {
    let urls = urls();
    let report = |request: &str| {
        let task = TaskRow { request: request.into(), ..row(&operations::SUBMIT_TRAINING, State::Queued) };
        let answer: QueryTrainingResponse = asked(&task, None, &urls).answer().unwrap();
        (answer.data.task_id.clone(), answer.data.max_epochs)
    };
    assert_eq!(report(r#"{"maxEpochs":33}"#), ("mine-1".to_owned(), Some(33)));
    let default = operations::SUBMIT_TRAINING.request.field("maxEpochs").unwrap().default.unwrap();
    assert_eq!(report("{}").1, Some(default.parse().unwrap()));
}

#[test]
fn a_training_is_in_the_epoch_of_its_next_step() {
    let urls = urls();
    let epoch = |state: State, live: Option<(u32, u32)>| {
        let live = live.map(|(step, steps)| Live { step, steps, ..Live::default() });
        let task = TaskRow { request: r#"{"maxEpochs":2}"#.into(), ..row(&operations::SUBMIT_TRAINING, state) };
        let answer: QueryTrainingResponse = asked(&task, live.as_ref(), &urls).answer().unwrap();
        answer.data.epoch
    };
    let running = [(0, 0), (0, 6), (2, 6), (3, 6), (5, 6), (6, 6)].map(|at| epoch(State::Running, Some(at)));
    assert_eq!(running, [None, Some(1), Some(1), Some(2), Some(2), Some(2)]);
    let others = [State::Queued, State::Failed, State::Succeeded].map(|state| epoch(state, None));
    assert_eq!(others, [None, None, Some(2)]);
}

#[test]
fn prompt_expansion_succeeds_with_0_in_both_places() {
    let (urls, task) = (urls(), row(&operations::EXPAND_PROMPT, State::Succeeded));
    let answer: ExpandPromptResponse = read_back(asked(&task, None, &urls).answer().unwrap());
    let data = answer.data.unwrap();
    assert_eq!((data.status.value(), data.state()), (0, JobState::Succeeded));
    assert_eq!((data.prompts.len(), data.tool_task.as_str()), (1, "prompts/expand"));
    let answer: QueryToolTaskResponse = asked(&task, None, &urls).answer().unwrap();
    assert_eq!((answer.data.status.value(), answer.data.prompts.map(|prompts| prompts.len())), (0, Some(1)));
    // Every other state has no prompts, so it cannot be mistaken for a success.
    for state in State::ALL.into_iter().filter(|state| *state != State::Succeeded) {
        let task = row(&operations::EXPAND_PROMPT, state);
        let answer: QueryToolTaskResponse = asked(&task, None, &urls).answer().unwrap();
        assert_eq!(answer.data.prompts, None, "{state}");
    }
}

#[test]
fn only_outpainting_lists_its_pictures() {
    let urls = urls();
    let pictures = |operation: &Operation| {
        let task = row(operation, State::Succeeded);
        let answer: QueryToolTaskResponse = asked(&task, None, &urls).answer().unwrap();
        (answer.data.output_image_url, answer.data.output_image_url_list)
    };
    let all = ["one.png", "two.png"].map(|name| urls.asset(&AssetToken(name.into())));
    let (first, list) = pictures(&operations::OUTPAINT);
    assert_eq!((first.as_ref(), list), (Some(&all[0]), Some(all.to_vec())));
    assert_eq!(pictures(&operations::REMOVE_OBJECT), (Some(all[0].clone()), None));
}

#[test]
fn a_generation_lists_pictures_with_their_seeds() {
    let (urls, task) = (urls(), row(&operations::TEXT_TO_IMAGE, State::Succeeded));
    let answer: QueryTaskResponse = asked(&task, None, &urls).answer().unwrap();
    let pictures = serde_json::to_value(&answer).unwrap()["data"]["differentialImageRspList"].clone();
    let expected = json!([
        {"image_status": 1, "seed": 7, "image_url": "https://images.example.com/assets/one.png"},
        {"image_status": 1, "image_url": "https://images.example.com/assets/two.png"},
    ]);
    assert_eq!(pictures, expected);
}

#[test]
fn a_generation_says_what_an_audit_found() {
    let (urls, mut task) = (urls(), row(&operations::TEXT_TO_IMAGE, State::Succeeded));
    let output = task.output.as_mut().unwrap();
    output.pictures[0].audit = Some(vec![StoredLabel { label: "nsfw".into(), confidence: 0.9321 }]);
    output.pictures[1].audit = Some(Vec::new());
    let expected = json!([
        [[{"confidence": 0.9321, "label": "nsfw"}], false],
        [[{"confidence": null, "label": "nonLabel"}], true],
    ]);
    let audits = |answer: Value| -> Value {
        let pictures = answer["data"]["differentialImageRspList"].as_array().unwrap().clone();
        pictures.iter().map(|picture| json!([picture["img_audit"], picture["img_audit_status"]])).collect()
    };
    let report = asked(&task, None, &urls);
    let now = read_back(report.answer::<QueryTaskResponse>().unwrap());
    assert_eq!(audits(serde_json::to_value(now).unwrap()), expected);
    let archived = read_back(report.answer::<QueryArchivedTaskResponse>().unwrap());
    assert_eq!(audits(serde_json::to_value(archived).unwrap()), expected);
}

#[test]
fn the_numbers_of_every_family_round_trip() {
    for state in State::ALL {
        let sd = SdStatus::from(number(state, "SdStatus").unwrap()).state();
        let tool = ToolStatus::from(number(state, "ToolStatus").unwrap()).state();
        let expand = ExpandPromptStatus::from(number(state, "ExpandPromptStatus").unwrap()).state();
        assert_eq!(sd.is_final(), state.is_final());
        assert_eq!(tool.is_final(), state.is_final());
        for family in [sd, tool, expand] {
            assert_eq!(family == JobState::Succeeded, state == State::Succeeded, "{state} as {family:?}");
        }
    }
    assert_eq!(number(State::Running, "Envelope"), None);
}
