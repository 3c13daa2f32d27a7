//! Audits the pictures of a result before they are written, as the setting `safety` says. With it on, no picture gets past here
//! that was not audited: what cannot be, is not given out.

use std::sync::Arc;
use std::time::Instant;

use imgopen_engine::{Auditor, EngineError, Monitor, Output, Picture, PictureLimits, Registry};
use imgopen_picture::blurred;
use imgopen_store::{StoredLabel, TaskRow};
use imgopen_types::Operation;
use tracing::{error, info};

use crate::context::Context;
use crate::metrics::{AuditMetrics, Verdict};
use crate::results;
use crate::settings::{InvalidSetting, Policy, SafetyAction, SafetySettings};

/// The audit of the pictures of one task.
pub struct Audit {
    task: String,
    auditor: Arc<dyn Auditor>,
    policy: Policy,
    limits: PictureLimits,
    metrics: AuditMetrics,
    /// Whether its operation makes pictures.
    has_pictures: bool,
}

/// A result whose pictures may be given out.
#[derive(Debug)]
pub struct Audited {
    /// The result without its pictures.
    pub output: Output,
    /// The pictures, each with what was found in it; `None` if they are not audited.
    pub pictures: Vec<(Picture, Option<Vec<StoredLabel>>)>,
}

/// Why nothing of a result is given out.
#[derive(Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// The task was cancelled.
    Cancelled,
    /// The task fails for this reason: something was found, or a picture cannot be audited.
    Reason(String),
    /// No picture can be audited now, for this reason.
    Fault(String),
}

/// A picture with what was found in it.
type Found = (Picture, Vec<StoredLabel>);

/// Checks at the start that what the settings ask for can be done.
///
/// # Errors
///
/// Names the setting, and says what is missing.
pub fn check(settings: &SafetySettings, engines: &Registry) -> Result<(), InvalidSetting> {
    let Some(setting) = settings.audits() else { return Ok(()) };
    let ready = engines.auditor().ok_or_else(missing).and_then(|auditor| auditor.ready());
    ready.map_err(|problem| InvalidSetting { setting, problem: format!("pictures cannot be audited: {problem}") })
}

/// Returns what is wrong, in words for callers, while no picture can be audited that would have to be.
pub fn lacking(context: &Context) -> Option<String> {
    let is_needed = context.settings.role.runs_tasks() && context.settings.safety.audits().is_some();
    let is_ready = || context.engines.auditor().is_some_and(|auditor| auditor.ready().is_ok());
    (is_needed && !is_ready()).then(|| "no picture can be audited, so that tasks wait which make some".to_owned())
}

fn missing() -> String {
    "this program has nothing that audits pictures; set it to \"off\"".to_owned()
}

impl Audited {
    /// A result that is not audited.
    pub fn unaudited(mut output: Output) -> Self {
        let pictures = std::mem::take(&mut output.pictures);
        Self { output, pictures: pictures.into_iter().map(|picture| (picture, None)).collect() }
    }
}

impl Audit {
    /// Returns the audit of a task; `None` if its pictures are not audited.
    ///
    /// # Errors
    ///
    /// Says why pictures cannot be audited now.
    pub fn of(context: &Context, operation: &Operation, task: &TaskRow) -> Result<Option<Self>, String> {
        let policy = context.settings.safety.policy(&task.key);
        if policy.action == SafetyAction::Off {
            return Ok(None);
        }
        let auditor = context.engines.auditor().cloned().ok_or_else(missing)?;
        let has_pictures = results::has_pictures(operation.id);
        if has_pictures {
            auditor.ready()?;
        }
        let (limits, metrics) = (context.settings.picture_limits(), context.metrics.audits().clone());
        Ok(Some(Self { task: task.id.0.clone(), auditor, policy, limits, metrics, has_pictures }))
    }

    /// Returns how many bytes it takes beside what the engine takes. The pixels of a picture are in that: it has ended by then.
    pub fn memory(&self) -> u64 {
        if self.has_pictures { self.auditor.memory() } else { 0 }
    }

    /// Audits the pictures of a result, on a thread that may block and has `monitor` until it ends.
    ///
    /// # Errors
    ///
    /// Says why nothing of it is given out.
    pub async fn run(self, mut output: Output, monitor: &Monitor) -> Result<Audited, NotPassed> {
        let pictures = std::mem::take(&mut output.pictures);
        if pictures.is_empty() {
            return Ok(Audited::unaudited(output));
        }
        let (task, own) = (self.task.clone(), monitor.clone());
        let work = tokio::task::spawn_blocking(move || self.all(pictures, &own));
        let (pictures, mut notes) = match monitor.until_cancelled(work).await {
            Err(_) => return Err(NotPassed::Cancelled),
            Ok(Ok(audited)) => audited?,
            Ok(Err(panic)) => {
                error!(%task, %panic, "an audit panicked, which is a bug");
                let reason = "the server failed to audit its pictures, so none is given out; see the server's log";
                return Err(NotPassed::Reason(reason.to_owned()));
            }
        };
        // First, so that they are kept however many an engine has.
        notes.append(&mut output.notes);
        output.notes = notes;
        Ok(Audited { output, pictures: pictures.into_iter().map(|(picture, found)| (picture, Some(found))).collect() })
    }

    /// Audits pictures, and does what is to be done about them. Returns them, and notes for the caller.
    fn all(&self, pictures: Vec<Picture>, monitor: &Monitor) -> Result<(Vec<Found>, Vec<String>), NotPassed> {
        let names = names(pictures.len());
        let mut audited = Vec::with_capacity(pictures.len());
        for (picture, name) in pictures.into_iter().zip(&names) {
            monitor.check_cancelled().map_err(|_| NotPassed::Cancelled)?;
            let found = self.found(&picture, name, monitor)?;
            audited.push((picture, found));
        }
        let mut notes = Vec::new();
        for ((_, found), name) in audited.iter().zip(&names).filter(|((_, found), _)| !found.is_empty()) {
            let (action, found) = (self.policy.action, shown(found));
            info!(task = %self.task, ?action, picture = %name, %found, "an audit found something in a picture");
            notes.push(format!("an audit found {found} in {name}"));
        }
        match self.policy.action {
            SafetyAction::Refuse if !notes.is_empty() => {
                self.count(&audited);
                let threshold = self.policy.threshold;
                return Err(NotPassed::Reason(format!(
                    "{}; the server refuses results with a confidence of {threshold} or more (setting `safety`), so no picture \
                     of it is given out",
                    notes.join(", ")
                )));
            }
            SafetyAction::Blur => {
                notes.iter_mut().for_each(|note| note.push_str(", which is blurred for that"));
                for ((picture, found), name) in audited.iter_mut().zip(&names) {
                    if !found.is_empty() {
                        let replaced = blurred(picture, &self.limits, monitor);
                        *picture = replaced.map_err(|error| not_passed(error, name, "blurred"))?;
                    }
                }
            }
            SafetyAction::Refuse | SafetyAction::Mark | SafetyAction::Off => {}
        }
        self.count(&audited);
        Ok((audited, notes))
    }

    /// Counts pictures, by what is done with them.
    fn count(&self, audited: &[Found]) {
        let of_found = match self.policy.action {
            SafetyAction::Refuse => Verdict::Refused,
            SafetyAction::Blur => Verdict::Blurred,
            SafetyAction::Mark | SafetyAction::Off => Verdict::Marked,
        };
        for (_, found) in audited {
            self.metrics.audited(if found.is_empty() { Verdict::Passed } else { of_found });
        }
    }

    /// Returns what counts as found in a picture.
    fn found(&self, picture: &Picture, name: &str, monitor: &Monitor) -> Result<Vec<StoredLabel>, NotPassed> {
        let began = Instant::now();
        let labels = self.auditor.audit(picture, &self.limits, monitor);
        let labels = labels.map_err(|error| not_passed(error, name, "audited"))?;
        self.metrics.took(began.elapsed());
        if let Some(label) = labels.iter().find(|label| !label.confidence.is_finite()) {
            let problem = format!("its confidence in `{}` is not a number", label.name);
            return Err(not_passed(EngineError::Failed(problem), name, "audited"));
        }
        let counts = labels.into_iter().filter(|label| label.confidence >= self.policy.threshold);
        Ok(counts.map(|label| StoredLabel { label: label.name, confidence: label.confidence }).collect())
    }
}

/// Returns what pictures are called in messages.
fn names(count: usize) -> Vec<String> {
    match count {
        1 => vec!["the picture".to_owned()],
        _ => (1..=count).map(|number| format!("picture {number} of {count}")).collect(),
    }
}

/// Describes what was found.
fn shown(found: &[StoredLabel]) -> String {
    let each = found.iter().map(|StoredLabel { label, confidence }| format!("`{label}` (confidence {confidence})"));
    each.collect::<Vec<_>>().join(" and ")
}

/// What an error means for a picture that was to be audited or blurred.
fn not_passed(error: EngineError, name: &str, what: &str) -> NotPassed {
    let problem = match error {
        EngineError::Cancelled => return NotPassed::Cancelled,
        EngineError::Unavailable { reason, .. } | EngineError::Busy(reason) | EngineError::Interrupted(reason) => {
            return NotPassed::Fault(reason);
        }
        EngineError::Failed(problem) | EngineError::Rejected { problem, .. } => problem,
    };
    NotPassed::Reason(format!("{name} cannot be {what}, so no picture of the result is given out: {problem}"))
}

#[cfg(test)]
mod tests {
    use imgopen_engine::{AuditLabel, Format};

    use super::*;

    /// Finds what the width of a picture says, in hundredths.
    struct Widths;

    impl Auditor for Widths {
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        fn memory(&self) -> u64 {
            7
        }

        fn audit(&self, picture: &Picture, _: &PictureLimits, _: &Monitor) -> Result<Vec<AuditLabel>, EngineError> {
            let label = |confidence| vec![AuditLabel { name: "wide".to_owned(), confidence }];
            match picture.width {
                1000 => Ok(label(f64::NAN)),
                1001 => Err(EngineError::Unavailable { reason: "out".to_owned(), retry_after: None }),
                1002 => Err(EngineError::Failed("the file is damaged".to_owned())),
                1003 => panic!("asked for by the test"),
                1004 => Ok(Vec::new()),
                width => Ok(label(f64::from(width) / 100.0)),
            }
        }
    }

    fn picture(width: u32) -> Picture {
        let image = image::DynamicImage::new_rgb8(width, 2);
        let bytes = imgopen_picture::encode(&image, Format::Png, &Default::default()).unwrap();
        Picture { bytes, format: Format::Png, width, height: 2, seed: None }
    }

    fn audit(action: SafetyAction, threshold: f64) -> Audit {
        let (task, auditor) = ("img1".to_owned(), Arc::new(Widths));
        let policy = Policy { action, threshold };
        let (limits, metrics) = (PictureLimits::default(), AuditMetrics::new());
        Audit { task, auditor, policy, limits, metrics, has_pictures: true }
    }

    async fn run(audit: Audit, widths: &[u32]) -> Result<Audited, NotPassed> {
        let pictures = widths.iter().map(|width| picture(*width)).collect();
        let output = Output { pictures, notes: vec!["of the engine".to_owned()], ..Output::default() };
        audit.run(output, &Monitor::new().0).await
    }

    fn found(audited: &Audited) -> Vec<Option<Vec<f64>>> {
        let confidences = |found: &Vec<StoredLabel>| found.iter().map(|label| label.confidence).collect();
        audited.pictures.iter().map(|(_, found)| found.as_ref().map(confidences)).collect()
    }

    fn reason(result: Result<Audited, NotPassed>) -> String {
        match result.unwrap_err() {
            NotPassed::Reason(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_reaches_the_threshold_is_found_and_marked() {
        let audited = run(audit(SafetyAction::Mark, 0.8), &[79, 80, 81, 1004]).await.unwrap();
        assert_eq!(found(&audited), [Some(vec![]), Some(vec![0.8]), Some(vec![0.81]), Some(vec![])]);
        let notes = [
            "an audit found `wide` (confidence 0.8) in picture 2 of 4",
            "an audit found `wide` (confidence 0.81) in picture 3 of 4",
            "of the engine",
        ];
        assert_eq!(audited.output.notes, notes);
        let pictures: Vec<_> = audited.pictures.into_iter().map(|(picture, _)| picture).collect();
        assert_eq!(pictures, [79, 80, 81, 1004].map(picture));
    }

    #[tokio::test]
    async fn only_what_is_found_is_blurred() {
        let audited = run(audit(SafetyAction::Blur, 0.5), &[10, 60]).await.unwrap();
        assert_eq!(found(&audited), [Some(vec![]), Some(vec![0.6])]);
        let [(kept, _), (replaced, _)] = &audited.pictures[..] else { panic!("{audited:?}") };
        let expected = blurred(&picture(60), &PictureLimits::default(), &Monitor::new().0).unwrap();
        assert_eq!((kept, replaced), (&picture(10), &expected));
        let note = "an audit found `wide` (confidence 0.6) in picture 2 of 2, which is blurred for that";
        assert_eq!(audited.output.notes, [note, "of the engine"]);
    }

    #[tokio::test]
    async fn one_picture_has_the_whole_result_refused() {
        let reason = reason(run(audit(SafetyAction::Refuse, 0.5), &[10, 60, 50]).await);
        let expected = "an audit found `wide` (confidence 0.6) in picture 2 of 3, an audit found `wide` (confidence 0.5) in \
                        picture 3 of 3; the server refuses results with a confidence of 0.5 or more (setting `safety`), so no \
                        picture of it is given out";
        assert_eq!(reason, expected);
        let audited = run(audit(SafetyAction::Refuse, 0.5), &[10, 49]).await.unwrap();
        assert_eq!((found(&audited), audited.output.notes.len()), (vec![Some(vec![]), Some(vec![])], 1));
    }

    #[tokio::test]
    async fn what_cannot_be_audited_does_not_pass() {
        for action in [SafetyAction::Mark, SafetyAction::Blur, SafetyAction::Refuse] {
            let result = async |width: u32| run(audit(action, 1.0), &[10, width]).await;
            let expected = "picture 2 of 2 cannot be audited, so no picture of the result is given out: ";
            for (width, problem) in [(1000, "its confidence in `wide` is not a number"), (1002, "the file is damaged")]
            {
                assert_eq!(reason(result(width).await), format!("{expected}{problem}"));
            }
            assert_eq!(result(1001).await.unwrap_err(), NotPassed::Fault("out".to_owned()));
            assert!(reason(result(1003).await).starts_with("the server failed to audit its pictures"));
        }
    }

    #[tokio::test]
    async fn a_cancelled_audit_ends() {
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        let output = Output { pictures: vec![picture(10)], ..Output::default() };
        let result = audit(SafetyAction::Mark, 0.5).run(output, &monitor).await;
        assert_eq!(result.unwrap_err(), NotPassed::Cancelled);
        drop(monitor);
        watch.ended().await;
    }

    #[tokio::test]
    async fn a_result_without_pictures_passes() {
        let output = Output { caption: Some("a cat".to_owned()), ..Output::default() };
        let audited = audit(SafetyAction::Refuse, 0.0).run(output, &Monitor::new().0).await.unwrap();
        assert_eq!((audited.output.caption.as_deref(), audited.pictures.len()), (Some("a cat"), 0));
        let texts = Audit { has_pictures: false, ..audit(SafetyAction::Mark, 0.5) };
        assert_eq!((audit(SafetyAction::Mark, 0.5).memory(), texts.memory()), (7, 0));
    }
}
