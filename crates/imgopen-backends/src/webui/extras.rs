//! What a web UI does with finished pictures: enlarging, restoring faces, describing, and ControlNet previews.
//!
//! An operator chooses each of them by a setting, because most fetch their weights from the internet at the first use.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::DynamicImage;
use imgopen_engine::{EngineError, Job, JobRequest, Monitor, Output, Picture, PictureLimits};
use imgopen_picture::{
    Decoded, EncodeError, check_sides, decode, decode_input, flatten, inspect, is_space_writable, to_space_of, to_srgb,
    write_like,
};
use imgopen_types::{DescribeImageRequest, PreviewControlnetRequest, RestoreFaceRequest, SuperResolutionRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Request;
use super::lists::Lists;
use crate::pictures;
use crate::settings::BackendSettings;

/// The resolutions that preprocessors work at.
const RESOLUTIONS: std::ops::RangeInclusive<u32> = 64..=2048;
const CODE_FORMER: &str = "CodeFormer";

/// What is done with a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Extra {
    /// Enlarged by a factor.
    Enlarge { scale: u32, upscaler: String },
    /// Faces restored. The weight is CodeFormer's: 0 for quality, 1 for fidelity.
    Restore { restorer: String, weight: Option<f64> },
    /// Described by a model.
    Describe { model: String },
    /// Read by a preprocessor of ControlNet.
    Preview { module: String },
}

/// What is sent to the server, and what the result is written with.
pub(super) struct Sending {
    pub(super) request: Request,
    /// The size that the result has, if it is certain.
    pub(super) size: Option<(u32, u32)>,
    pub(super) source: Source,
}

/// A picture without its pixels: what its file carries, and what of it the server cannot keep.
pub(super) struct Source {
    picture: Decoded,
    is_gray: bool,
    lost: Vec<&'static str>,
}

#[derive(Debug, Deserialize)]
struct Processed {
    image: String,
    #[serde(default)]
    html_info: String,
}

#[derive(Debug, Deserialize)]
struct Detected {
    images: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Interrogated {
    caption: String,
}

impl Extra {
    /// Reads a request; `None` if it asks for new pictures.
    pub(super) fn read(request: &JobRequest, settings: &BackendSettings) -> Result<Option<Self>, EngineError> {
        let unset = || EngineError::Failed("the setting of the operation was removed".to_owned());
        Ok(Some(match request.operation().id {
            "super_resolution" => {
                let scale = request.typed::<SuperResolutionRequest>()?.scale_or_default();
                let scale = u32::try_from(scale).map_err(|_| EngineError::rejected("scale", "give 2 or 4"))?;
                Self::Enlarge { scale, upscaler: settings.upscaler.clone().ok_or_else(unset)? }
            }
            "restore_face" => {
                let weight = request.typed::<RestoreFaceRequest>()?.fidelity_weight;
                let weight = weight.map(|weight| weight.trim().parse::<f64>());
                let weight =
                    weight.transpose().map_err(|_| EngineError::rejected("fidelityWeight", "give a number"))?;
                Self::Restore { restorer: settings.face_restorer.clone().ok_or_else(unset)?, weight }
            }
            "describe_image" => {
                let model = request.typed::<DescribeImageRequest>()?.model_or_default();
                Self::Describe { model: model.as_str().to_owned() }
            }
            "preview_controlnet" => {
                let module = request.typed::<PreviewControlnetRequest>()?.preprocessor;
                Self::Preview { module: module.as_str().to_owned() }
            }
            _ => return Ok(None),
        }))
    }

    /// Checks it against what the server has and the operator allows.
    pub(super) fn check(&self, settings: &BackendSettings, lists: &Lists, name: &str) -> Result<(), EngineError> {
        let refused = |field: &str, asked: &str, available: &[String]| {
            let listed = available.iter().map(|known| format!("\"{known}\"")).collect::<Vec<_>>().join(", ");
            EngineError::rejected(
                field,
                format!("the back end `{name}` does not have \"{asked}\"; give one of {listed}"),
            )
        };
        match self {
            Self::Describe { model } if !settings.interrogators.contains(model) => {
                Err(refused("model", model, &settings.interrogators))
            }
            Self::Preview { module } => {
                let modules = lists.preprocessors();
                match modules.contains(module) {
                    true => Ok(()),
                    false => Err(refused("preprocessor", module, &modules)),
                }
            }
            Self::Restore { restorer, weight: Some(_) } if restorer != CODE_FORMER => {
                let problem = format!("the back end `{name}` restores faces by {restorer}, which has no such weight");
                Err(EngineError::rejected("fidelityWeight", problem))
            }
            _ => Ok(()),
        }
    }

    /// Returns how many pixels the picture and the result have together.
    pub(super) fn pixels(&self, job: &Job) -> u64 {
        let input = job.input(self.field()).ok().and_then(|input| inspect(&input.bytes, job.limits()).ok());
        let pixels = input.map_or(0, |header| header.pixels());
        match self {
            Self::Enlarge { scale, .. } => pixels * (1 + u64::from(*scale) * u64::from(*scale)),
            _ => pixels * 2,
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Preview { .. } => "sourceImage",
            _ => "image",
        }
    }

    /// Reads the picture and builds the call. Blocks.
    pub(super) fn request(&self, job: &Job, monitor: &Monitor) -> Result<Sending, EngineError> {
        let (image, source) = Source::read(job, self.field(), monitor)?;
        let (width, height) = (image.width(), image.height());
        let picture = pictures::sent(&image)?;
        let size = |scale: u32| {
            let size = (width.saturating_mul(scale), height.saturating_mul(scale));
            let limit = job.limits().pixels;
            if u64::from(size.0) * u64::from(size.1) > limit {
                let problem = format!("{scale} given, which makes more than the {limit} pixels that are allowed");
                return Err(EngineError::rejected("scale", problem));
            }
            let rejected = |error: EncodeError| EngineError::rejected("scale", format!("{scale} given: {error}"));
            check_sides(source.picture.header.format.written(), size.0, size.1).map_err(rejected)?;
            Ok(Some(size))
        };
        let extras = "sdapi/v1/extra-single-image";
        let (request, size) = match self {
            Self::Enlarge { scale, upscaler } => {
                let body = json!({
                    "image": picture, "resize_mode": 0, "upscaling_resize": scale, "upscaler_1": upscaler,
                    "upscaler_2": "None", "gfpgan_visibility": 0, "codeformer_visibility": 0,
                });
                (Request { path: extras, body }, size(*scale)?)
            }
            Self::Restore { restorer, weight } => {
                let by_code_former = restorer == CODE_FORMER;
                let body = json!({
                    "image": picture, "resize_mode": 0, "upscaling_resize": 1, "upscaler_1": "None", "upscaler_2": "None",
                    "gfpgan_visibility": u8::from(!by_code_former), "codeformer_visibility": u8::from(by_code_former),
                    "codeformer_weight": weight.unwrap_or(0.5),
                });
                (Request { path: extras, body }, Some((width, height)))
            }
            Self::Describe { model } => {
                (Request { path: "sdapi/v1/interrogate", body: json!({"image": picture, "model": model}) }, None)
            }
            Self::Preview { module } => {
                let resolution = width.min(height).clamp(*RESOLUTIONS.start(), *RESOLUTIONS.end());
                let body = json!({
                    "controlnet_module": module, "controlnet_input_images": [picture],
                    "controlnet_processor_res": resolution,
                });
                (Request { path: "controlnet/detect", body }, None)
            }
        };
        Ok(Sending { request, size, source })
    }

    /// Reads and verifies the answer, and writes a picture that was worked on as its source was written. Blocks.
    pub(super) fn finish(
        &self,
        body: &[u8],
        size: Option<(u32, u32)>,
        source: &Source,
        limits: &PictureLimits,
        name: &str,
        monitor: &Monitor,
    ) -> Result<Output, EngineError> {
        let failed = |problem: String| {
            EngineError::Failed(format!("the back end `{name}` did not do what was asked for: {problem}"))
        };
        let unusable = |_| failed("its answer lacks what the API promises".to_owned());
        let picture = match self {
            Self::Describe { .. } => {
                let caption = serde_json::from_slice::<Interrogated>(body).map_err(unusable)?.caption;
                // The server answers so with 200 where its model failed.
                if caption.contains("<error>") || caption.trim().is_empty() {
                    return Err(failed("its model has no description".to_owned()));
                }
                return Ok(Output { caption: Some(caption), ..Output::default() });
            }
            Self::Preview { .. } => {
                let images = serde_json::from_slice::<Detected>(body).map_err(unusable)?.images;
                images.into_iter().next().ok_or_else(|| failed("no picture came back".to_owned()))?
            }
            Self::Enlarge { .. } | Self::Restore { .. } => {
                let processed: Processed = serde_json::from_slice(body).map_err(unusable)?;
                let said = self.said();
                if !processed.html_info.contains(&said) {
                    return Err(failed(format!("it does not report \"{said}\"")));
                }
                processed.image
            }
        };
        let (file, made) = read(&picture, limits).map_err(failed)?;
        let (width, height) = (made.image.width(), made.image.height());
        if let Some(size) = size.filter(|size| *size != (width, height)) {
            let problem = format!("{}x{} pixels were to come back, and {width}x{height} did", size.0, size.1);
            return Err(failed(problem));
        }
        let (picture, notes) = match self.done() {
            Some(done) => {
                let lost = source.lost.iter().map(|lost| format!("`{}`: {lost}", self.field()));
                (source.written(made, &done, monitor)?, lost.collect())
            }
            None => {
                let other = || failed(format!("a picture that came back is a {} file", made.header.format));
                let format = made.header.format.as_format().ok_or_else(other)?;
                (Picture { bytes: file.into(), format, width, height, seed: None }, Vec::new())
            }
        };
        Ok(Output { pictures: vec![picture], notes, ..Output::default() })
    }

    /// Says in the picture what was done to it; `None` if it is a new one.
    fn done(&self) -> Option<String> {
        // A name may contain commas.
        let quoted = |name: &str| Value::from(name).to_string();
        match self {
            Self::Enlarge { scale, upscaler } => {
                Some(format!("Postprocess upscale by: {scale}, Postprocess upscaler: {}", quoted(upscaler)))
            }
            Self::Restore { restorer, .. } => Some(format!("Postprocess face restorer: {}", quoted(restorer))),
            Self::Describe { .. } | Self::Preview { .. } => None,
        }
    }

    /// What the server must report to have done.
    fn said(&self) -> String {
        match self {
            Self::Enlarge { upscaler, .. } => format!("Postprocess upscaler: {upscaler}"),
            Self::Restore { restorer, .. } => format!("{restorer} visibility: 1"),
            Self::Describe { .. } | Self::Preview { .. } => String::new(),
        }
    }
}

impl Source {
    /// Reads a picture of a job. Returns its pixels as they are sent, with 8 bits, in sRGB, and white where it is transparent.
    fn read(job: &Job, field: &str, monitor: &Monitor) -> Result<(DynamicImage, Self), EngineError> {
        let mut decoded = decode_input(job.input(field)?, job.limits(), monitor)?;
        let image = std::mem::take(&mut decoded.image);
        let mut sent = Decoded { image, ..decoded.clone() };
        let color = sent.image.color();
        let is_gray = !color.has_color();
        let mut lost = Vec::new();
        if to_srgb(&mut sent) {
            lost.push("the back end got its colours in sRGB, so that others are lost");
            if is_gray || !is_space_writable(&decoded) {
                // The result stays as it came back, because gray is not converted into other spaces, and into some nothing is.
                to_srgb(&mut decoded);
            }
        }
        if color.bytes_per_pixel() > color.channel_count() {
            lost.push("the back end got 8 of its 16 bits for each colour");
        }
        if is_clear(&sent.image) {
            lost.push("what is transparent became white, because the back end knows no transparency");
        }
        let source = Self { picture: decoded, is_gray, lost };
        Ok((flatten(sent.image), source))
    }

    /// Writes what was made of the picture as it was written, and with what its file carries.
    fn written(&self, made: Decoded, done: &str, monitor: &Monitor) -> Result<Picture, EngineError> {
        let image = match self.is_gray {
            true => made.image.into_luma8().into(),
            false => flatten(to_space_of(made, &self.picture)),
        };
        let unwritten = |error: EncodeError| EngineError::Failed(error.to_string());
        write_like(&self.picture, &image, done, monitor, unwritten)
    }
}

/// Whether some pixels are not opaque.
fn is_clear(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|pixel| pixel.0[1] < u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel.0[3] < u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().any(|pixel| pixel.0[1] < u16::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().any(|pixel| pixel.0[3] < u16::MAX),
        _ => false,
    }
}

/// Decodes a picture that came back.
fn read(base64: &str, limits: &PictureLimits) -> Result<(Vec<u8>, Decoded), String> {
    let file = BASE64_STANDARD.decode(base64).map_err(|_| "a picture is not in Base64".to_owned())?;
    let limits = PictureLimits { bytes: file.len() as u64, ..*limits };
    let decoded = decode(&file, &limits).map_err(|problem| format!("a picture that came back {problem}"))?;
    Ok((file, decoded))
}
