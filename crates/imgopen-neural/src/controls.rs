//! Shows pictures as those preprocessors of ControlNet see them that are networks, beside the classical ones.
//!
//! | value | aliases | result | net |
//! |---|---|---|---|
//! | `depth` | `depth_anything`, `depth_anything_v2`, `depth_midas` | what is near is white, gray | the operator's own, whichever of the names is given |
//! | `mediapipe_face` | | lines of faces in the colours of the annotator, on black | those of the pack `faces` |
//!
//! All others are made by [`Preprocessors`], without a network, because one engine serves all values of a field; notes say so. What
//! needs networks that are not here, such as `openpose`, is refused with who has them:
//! [`ELSEWHERE`](imgopen_tools::preprocess::ELSEWHERE).
//! Results are PNG files of the size of the source, or of what another engine's job asks for.

mod depth;
mod lines;
mod mesh;
mod pupils;

use futures_util::future::BoxFuture;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, FieldValues, Grade, Job, JobRequest, Monitor, Offer, Output, Preprocessing};
use imgopen_picture::{self as picture, write_png};
use imgopen_tools::preprocess::{self, NEURAL, Neural, Preprocessor, UnknownPreprocessor};
use imgopen_tools::{Preprocessors, blocking, memory};
use imgopen_types::{Operation, PreviewControlnetRequest, operations};

use self::mesh::Faces;
use crate::face;
use crate::nets::{FACES, Held, Nets, Role, Weights, unavailable};

/// The field that names the preprocessor.
const FIELD: &str = "preprocessor";

/// The field of the picture.
const SOURCE: &str = "sourceImage";

/// The engine `control-nets`, which offers `preview_controlnet` while there is a net for it.
#[derive(Debug, Clone)]
pub struct ControlNets {
    nets: Nets,
    /// Makes what needs no net.
    classical: Preprocessors,
}

/// A preprocessor that is a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Depth,
    Face,
}

impl Control {
    const ALL: [Control; 2] = [Control::Depth, Control::Face];

    fn neural(self) -> Neural {
        match self {
            Control::Depth => NEURAL[0],
            Control::Face => NEURAL[1],
        }
    }

    fn name(self) -> &'static str {
        self.neural().names.first().copied().unwrap_or_default()
    }

    fn find(name: &str) -> Option<Self> {
        let neural = Neural::find(name)?;
        Self::ALL.into_iter().find(|control| control.neural() == neural)
    }
}

impl ControlNets {
    /// Creates the engine.
    pub fn new(nets: Nets) -> Self {
        Self { nets, classical: Preprocessors::new() }
    }

    fn depth(&self) -> Option<Weights> {
        match self.nets.own(Role::Depth) {
            Held::Whole(own) => own.first().cloned(),
            Held::Missing | Held::Broken(_) => None,
        }
    }

    /// Returns whether there is a net for a preprocessor, or one that is broken.
    fn has(&self, control: Control) -> bool {
        match control {
            Control::Depth => self.depth().is_some(),
            Control::Face => !matches!(self.nets.held(FACES), Held::Missing),
        }
    }

    /// Returns why a net that is there for a preprocessor is not used.
    fn problem(&self, control: Control) -> Option<String> {
        match control {
            Control::Depth => self.nets.own_problem(Role::Depth),
            Control::Face => None,
        }
    }

    /// Returns the preprocessor of a name; `None` if it is one without a net.
    fn requested(&self, request: &PreviewControlnetRequest) -> Result<Option<Control>, EngineError> {
        let name = request.preprocessor.as_str().trim();
        let UnknownPreprocessor { name: shown, near } = match (Control::find(name), name.parse::<Preprocessor>()) {
            (Some(control), _) if self.has(control) => return Ok(Some(control)),
            (_, Ok(_)) => return Ok(None),
            (_, Err(error)) => error,
        };
        let all = self.values().join(", ");
        let unknown = match Neural::find(name) {
            Some(Neural { need, .. }) => {
                let refused = Control::find(name).and_then(|control| self.problem(control));
                let refused = refused.map(|problem| format!("; there is one, but {problem}")).unwrap_or_default();
                format!("\"{shown}\" needs {need}{refused}; without it, give one of {all}")
            }
            None => {
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                format!("\"{shown}\" is not a preprocessor of this engine; give one of {all}{near}")
            }
        };
        Err(EngineError::rejected(FIELD, unknown))
    }

    /// Returns the values of the field, in the order in which to show them.
    fn values(&self) -> Vec<String> {
        let nets = Control::ALL.into_iter().filter(|control| self.has(*control)).map(Control::name);
        Preprocessor::ALL.into_iter().map(Preprocessor::as_str).chain(nets).map(str::to_owned).collect()
    }

    fn serve(&self, control: Control, job: &Job, monitor: &Monitor) -> Result<Output, EngineError> {
        let mut source = picture::decode_input(job.input(SOURCE)?, job.limits(), monitor)?;
        monitor.stage(0.1)?;
        picture::to_srgb(&mut source);
        monitor.stage(0.2)?;
        let mut image = picture::flatten(source.image);
        let asked = job.checked_request().preprocessing();
        if let Some(asked) = asked {
            image = preprocess::scaled(image, asked.resolution, job.limits())?;
        }
        let (image, notes) = match control {
            Control::Depth => self.depth_map(&image, monitor)?,
            Control::Face => self.faces(image, asked, monitor)?,
        };
        monitor.stage(0.9)?;
        let picture = write_png(&image, &format!("ControlNet preprocessor: {}", control.name()), monitor)?;
        monitor.stage(1.0)?;
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }

    fn depth_map(&self, image: &DynamicImage, monitor: &Monitor) -> Result<(DynamicImage, Vec<String>), EngineError> {
        let folder = Role::Depth.folder();
        let missing =
            || format!("there is no net for depth any more; put one into `{folder}/` in the models directory");
        let weights = self.depth().ok_or_else(|| unavailable(missing()))?;
        let session = self.nets.open(&weights)?;
        monitor.stage(0.3)?;
        let map = self.nets.judged(&weights, depth::map(&session, image, monitor))?;
        Ok((map.into(), vec![format!("depth was found by the net {}", weights.described())]))
    }

    fn faces(
        &self,
        image: DynamicImage,
        asked: Option<Preprocessing>,
        monitor: &Monitor,
    ) -> Result<(DynamicImage, Vec<String>), EngineError> {
        let faces = Faces::asked(asked)?;
        let missing = || "the pack `faces` is not installed any more; pull it with `imgopen models pull faces`";
        let mesh = face::mesh_weights(&self.nets).ok_or_else(|| unavailable(missing().to_owned()))?;
        let mesh = mesh.map_err(unavailable)?;
        let iris = self.iris()?;
        let (mesh_net, iris_net) = (self.nets.open(&mesh)?, self.nets.open(&iris)?);
        monitor.stage(0.3)?;
        let drawn = faces.drawn(&mesh_net, &iris_net, &image.into_rgb8(), monitor)?;
        let (mesh, iris) = (mesh.described(), iris.described());
        Ok((drawn.into(), vec![format!("faces were found by the nets {mesh} and {iris}")]))
    }

    /// Returns the net that finds pupils.
    fn iris(&self) -> Result<Weights, EngineError> {
        const FILE: &str = "iris_landmark.onnx";
        match self.nets.held(FACES) {
            Held::Whole(all) => {
                let lacking =
                    || unavailable(format!("the pack `{FACES}` does not have `{FILE}`; pull the built-in one"));
                all.iter().find(|weights| weights.file.name() == FILE).cloned().ok_or_else(lacking)
            }
            Held::Broken(problem) => Err(unavailable(problem)),
            Held::Missing => Err(unavailable(format!(
                "the pack `{FACES}` is not installed any more; pull it with `imgopen models pull {FACES}`"
            ))),
        }
    }

    fn net_memory(&self, control: Control) -> u64 {
        match control {
            Control::Depth => self.depth().map_or(0, |weights| depth::memory(&weights)),
            Control::Face => {
                let mesh = face::mesh_weights(&self.nets).and_then(Result::ok);
                let nets = mesh.into_iter().chain(self.iris().ok());
                nets.map(|weights| weights.memory(&[], mesh::WORKING)).sum::<u64>().saturating_add(face::DETECTION)
            }
        }
    }
}

impl Engine for ControlNets {
    fn name(&self) -> &str {
        "control-nets"
    }

    fn offers(&self) -> Vec<Offer> {
        if Control::ALL.into_iter().all(|control| !self.has(control)) {
            return Vec::new();
        }
        let offer = Offer::new(&operations::PREVIEW_CONTROLNET, Grade::Neural);
        vec![Offer { values: vec![FieldValues { field: FIELD, values: self.values() }], ..offer }]
    }

    fn nets(&self, operation: &Operation) -> Vec<String> {
        self.nets.names_for(operation)
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        match self.requested(&request.typed()?)? {
            Some(Control::Face) => Faces::asked(request.preprocessing()).map(drop),
            Some(Control::Depth) => Ok(()),
            None => self.classical.check(request),
        }
    }

    fn grade(&self, request: &JobRequest, offered: Grade) -> Grade {
        match request.typed().and_then(|request| self.requested(&request)) {
            Ok(None) => offered.min(Grade::Classical),
            Ok(Some(_)) | Err(_) => offered,
        }
    }

    fn memory(&self, job: &Job) -> u64 {
        // A request that cannot be read is rejected by the run.
        let control = job.request().ok().and_then(|request| self.requested(&request).ok().flatten());
        match control {
            Some(control) => memory::of(job, preprocess::scaled_growth(job)).saturating_add(self.net_memory(control)),
            None => self.classical.memory(job),
        }
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let engine = self.clone();
        Box::pin(async move {
            let control = engine.requested(&job.request()?)?;
            match control {
                Some(control) => {
                    blocking::run(job, monitor, move |job, monitor| engine.serve(control, job, monitor)).await
                }
                None => {
                    let mut output = engine.classical.run(job, monitor).await?;
                    output.notes.push(format!("made by the engine `{}`, without a network", engine.classical.name()));
                    Ok(output)
                }
            }
        })
    }
}
