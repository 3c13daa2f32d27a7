//! The pictures of a job, made ready for the server and uploaded.

use std::time::Duration;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, RgbImage};
use imgopen_engine::{EngineError, Job, Monitor};
use imgopen_picture::flatten;
use serde::Deserialize;

use super::build::Uploads;
use super::ids::{FOLDER, digest};
use crate::generation::{Generation, Start};
use crate::http::{CallError, Http};
use crate::pictures::{self, fitted, fitted_control, marked, png, prepared};

/// How long an upload may take.
const UPLOAD: Duration = Duration::from_secs(300);

/// The pictures of a generation as PNG files.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    start: Option<Bytes>,
    mask: Option<Bytes>,
    control: Vec<Bytes>,
    /// The picture that is given and its mask, to be put together with the result.
    pub kept: Option<Kept>,
}

/// What is left of a picture that is given.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub given: RgbImage,
    pub mask: GrayImage,
}

/// Reads the mask of a picture that is given. It is prepared before it is fitted, because the blur is in pixels of the mask.
fn shades(job: &Job, start: &Start, given: &DynamicImage, monitor: &Monitor) -> Result<Option<GrayImage>, EngineError> {
    let Some(rules) = &start.mask else { return Ok(None) };
    let shades = marked(job, rules.picture, Some((start.picture, given)), monitor)?;
    Ok(Some(prepared(shades, rules, monitor)?))
}

/// Where the server has put a file.
#[derive(Debug, Deserialize)]
struct Place {
    name: String,
    #[serde(default)]
    subfolder: String,
}

impl Inputs {
    /// Reads the pictures of a job, and fits them to the size of the result. Blocks.
    pub(super) fn read(job: &Job, generation: &Generation, monitor: &Monitor) -> Result<Self, EngineError> {
        let size = (generation.width, generation.height);
        let mut inputs = Self::default();
        let given = match &generation.start {
            Some(start) => Some((start, pictures::read(job, start.picture, monitor)?)),
            None => None,
        };
        let shades = match &given {
            Some((start, given)) => shades(job, start, given, monitor)?,
            None => None,
        };
        let given = given.map(|(start, given)| (start, flatten(given)));
        for unit in &generation.control {
            let start = given.as_ref().map(|(_, given)| given);
            let picture = pictures::control(job, unit, start, monitor)?;
            inputs.control.push(png(&fitted_control(&picture, unit.fit, size))?);
        }
        let Some((start, given)) = given else { return Ok(inputs) };
        let given = fitted(&given, start.fit, size);
        inputs.start = Some(png(&given)?);
        if let Some(shades) = shades {
            let mask = fitted(&shades.into(), start.fit, size).into_luma8();
            // Its red channel is read.
            inputs.mask = Some(png(&DynamicImage::from(mask.clone()).into_rgb8().into())?);
            inputs.kept = Some(Kept { given: given.into_rgb8(), mask });
        }
        Ok(inputs)
    }

    /// Uploads the files, and returns the server's names for them.
    pub(super) async fn upload(&self, http: &Http) -> Result<Uploads, CallError> {
        let mut uploads = Uploads::default();
        if let Some(start) = &self.start {
            uploads.start = Some(upload(http, start).await?);
        }
        if let Some(mask) = &self.mask {
            uploads.mask = Some(upload(http, mask).await?);
        }
        for control in &self.control {
            uploads.control.push(upload(http, control).await?);
        }
        Ok(uploads)
    }
}

/// Uploads a PNG file under the digest of what it holds, and returns the server's name for it. The same file gets the
/// same name again, so that the graphs of two runs of a task are the same.
pub(super) async fn upload(http: &Http, file: &[u8]) -> Result<String, CallError> {
    let name = digest(file);
    let boundary = format!("imgopen-{name}");
    let body = form(&boundary, &format!("{name}.png"), file);
    let place: Place = http.upload("upload/image", &boundary, body, UPLOAD).await.map_err(unkept)?;
    Ok(match place.subfolder.as_str() {
        "" => place.name,
        folder => format!("{}/{}", folder.replace('\\', "/"), place.name),
    })
}

/// The server says no more than that it failed. With a file of ours it does so hardly ever but where its disk is full.
fn unkept(error: CallError) -> CallError {
    match error {
        CallError::Status { status: 500, .. } => CallError::Away(
            "it failed with status 500 when it was sent a picture; its operator finds the reason in its log, and must make \
             room if its disk is full"
                .to_owned(),
        ),
        error => error,
    }
}

fn form(boundary: &str, name: &str, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(file.len() + 1024);
    for (field, value) in [("type", "input"), ("subfolder", FOLDER), ("overwrite", "true")] {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\nContent-Type: image/png\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use image::Luma;
    use imgopen_engine::{Input, JobRequest, PictureLimits};
    use imgopen_picture::decode;
    use imgopen_types::operations::IMAGE_TO_IMAGE;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mask_is_blurred_before_it_is_fitted() {
        let half = DynamicImage::from(GrayImage::from_fn(256, 256, |x, _| Luma([if x < 128 { 255 } else { 0 }])));
        let plain = DynamicImage::from(GrayImage::from_pixel(256, 256, Luma([90])));
        let input = |field: &str, image: &DynamicImage| {
            let bytes = png(image).unwrap();
            Input { field: field.to_owned(), url: String::new(), bytes }
        };
        let scripts = json!({"image_link": "https://example.com/a.png", "mask_link": "https://example.com/m.png"});
        let body = json!({"prompt": "a", "width": 64, "height": 64, "mask_blur": 8, "alwayson_scripts": scripts});
        let request = JobRequest::new("task", &IMAGE_TO_IMAGE, body);
        let generation = Generation::read(&request).unwrap();
        let pictures = vec![input("alwayson_scripts.image_link", &plain), input("alwayson_scripts.mask_link", &half)];
        let job = Job::new(request, "run").with_inputs(pictures);
        let inputs = Inputs::read(&job, &generation, &Monitor::new().0).unwrap();
        let mask = decode(&inputs.mask.unwrap(), &PictureLimits::default()).unwrap().image.to_luma8();
        let row: Vec<u8> = (0..64).map(|x| mask.get_pixel(x, 32).0[0]).collect();
        // The slope has 20 pixels of the given mask on each side of the edge, which are 5 of the result.
        assert!(row[..24].iter().all(|shade| *shade == 255) && row[40..].iter().all(|shade| *shade == 0), "{row:?}");
        // A quarter of a deviation beyond the edge: 40 percent of a normal distribution.
        assert!((95..110).contains(&row[32]), "{row:?}");
    }
}
