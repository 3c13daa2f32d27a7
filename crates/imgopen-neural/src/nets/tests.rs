use std::fs;

use imgopen_types::operations;

use super::testing::{LONG, Waiting, lama, net};
use super::*;

/// A net of one operator, which enlarges nothing.
fn of(operator: &str) -> Vec<u8> {
    net(&[("input", &[0, 3, 0, 0])], &[("output", &[0, 3, 0, 0])], &[operator], &[])
}

/// Both files are whole, so nothing but their hashes is between them.
#[test]
fn a_net_that_changes_between_look_and_run_is_not_run() {
    let models = tempfile::tempdir().unwrap();
    let path = models.path().join("net.onnx");
    let nets = Nets::in_models(models.path(), NonZeroUsize::MIN, SessionSettings::default());
    let pulled = "the model file \"net.onnx\" was changed: it has another SHA-256 than when it was installed; pull it again with \
                  `imgopen models pull upscale`";
    let own = "the model file \"net.onnx\" was changed a moment ago; repeat the request";
    for (origin, reason, retry_after) in
        [(Origin::Pack(UPSCALE), pulled, None), (Origin::Own("ESRGAN".to_owned()), own, Some(PAUSE))]
    {
        fs::write(&path, of("Relu")).unwrap();
        let file = Arc::new(ModelFile::open(&path, &Limits::default()).unwrap());
        let weights = Weights { origin, path: path.clone(), file };
        assert_eq!(nets.open(&weights).unwrap().file().hash(), weights.file.hash());
        // Of another size, so the change is seen however coarse the times of files are.
        fs::write(&path, of("Sigmoid")).unwrap();
        let expected = EngineError::Unavailable { reason: reason.to_owned(), retry_after };
        assert_eq!(nets.open(&weights).unwrap_err(), expected);
    }
}

/// As by a system that is short of memory, which ends nets before anything else, whatever takes the memory.
#[test]
fn a_net_counts_until_two_runs_in_a_row_were_interrupted() {
    let models = tempfile::tempdir().unwrap();
    fs::create_dir(models.path().join("lama")).unwrap();
    fs::write(models.path().join("lama/net.onnx"), lama()).unwrap();
    let open = || Nets::in_models(models.path(), NonZeroUsize::MIN, SessionSettings::default());
    let nets = open();
    let Held::Whole(all) = nets.own(Role::Inpainting) else { panic!() };
    let judged = |made: Result<(), EngineError>| nets.judged(&all[0], made);
    let interrupted = || {
        let (file, problem) = ("net.onnx".to_owned(), "signal: 9 (SIGKILL)".to_owned());
        judged(Err(NetError::Killed { file, problem }.into())).unwrap_err()
    };
    let is_repeated = |error: &EngineError| matches!(error, EngineError::Interrupted(_));
    assert!(is_repeated(&interrupted()));
    assert_eq!(judged(Ok(())), Ok(()));
    assert!(is_repeated(&interrupted()));
    // What waited for the same process was not interrupted itself.
    let waiting = NetError::Runtime { runtime: "rten", problem: "signal: 9 (SIGKILL)".to_owned() };
    judged(Err(waiting.into())).unwrap_err();
    // Nor does another pause say anything of the net.
    let paused = EngineError::Unavailable { reason: "a file is missing".to_owned(), retry_after: Some(PAUSE) };
    assert_eq!(judged(Err(paused.clone())), Err(paused));
    assert_eq!(nets.names_for(&operations::REMOVE_OBJECT), ["net.onnx"]);
    let error = interrupted();
    assert!(!is_repeated(&error) && error.to_string().contains("twice in a row; touch the file"), "{error}");
    assert_eq!(nets.names_for(&operations::REMOVE_OBJECT), [""; 0]);
    // It says nothing about the file.
    assert_eq!(open().names_for(&operations::REMOVE_OBJECT), ["net.onnx"]);
}

#[test]
fn a_net_that_takes_long_to_be_tried_does_not_keep_a_service_from_starting() {
    let models = tempfile::tempdir().unwrap();
    fs::create_dir(models.path().join("lama")).unwrap();
    fs::write(models.path().join("lama/net.onnx"), lama()).unwrap();
    let (runtime, begun, end) = Waiting::new();
    let sessions = Sessions::new(Arc::new(runtime), SessionSettings::default());
    let (packs, catalogue) = (Packs::in_models(models.path()), Catalogue::built_in().clone());
    let nets = Nets::waiting(packs, catalogue, sessions, Limits::default(), Duration::ZERO);
    begun.recv_timeout(LONG).unwrap();
    assert_eq!(nets.names_for(&operations::REMOVE_OBJECT), [""; 0]);
    end.send(()).unwrap();
    // After the look that is under way.
    nets.look();
    assert_eq!(nets.names_for(&operations::REMOVE_OBJECT), ["net.onnx"]);
}
