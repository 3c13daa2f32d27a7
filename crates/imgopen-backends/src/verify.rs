//! Verification of finished pictures: what came back is compared with what was asked for, because servers replace what they
//! do not know and report success.

use image::DynamicImage;
use imgopen_engine::{Format, Picture, PictureLimits};
use imgopen_picture::{Attached, Decoded, decode, encode};

use crate::infotext::Infotext;

/// How far numbers may differ, which programs print with few digits.
const TOLERANCE: f64 = 0.006;

/// What a picture must be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    /// The size of the decoded picture.
    pub size: (u32, u32),
    /// The seed.
    pub seed: i64,
    /// The settings that the back end must report, by their names in its text.
    pub settings: Vec<(&'static str, Setting)>,
    /// The LoRAs that it must report to have applied.
    pub loras: Vec<String>,
}

/// The value that a setting must have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    /// This text.
    Text(String),
    /// This number.
    Number(f64),
    /// This number, or no such setting, if the number is the one that means nothing.
    NumberUnless(f64, f64),
    /// This number, if the setting is reported at all.
    NumberIfReported(f64),
    /// Anything.
    Reported,
}

impl Setting {
    /// Returns what was expected, if it is not what is reported.
    fn differs(&self, reported: Option<&str>) -> Option<String> {
        let number = |reported: Option<&str>| reported.and_then(|text| text.parse::<f64>().ok());
        let is_near = |wanted: f64| number(reported).is_some_and(|reported| (reported - wanted).abs() <= TOLERANCE);
        let (is_as_expected, wanted) = match self {
            Setting::Text(wanted) => (reported == Some(wanted), wanted.clone()),
            Setting::Number(wanted) => (is_near(*wanted), wanted.to_string()),
            Setting::NumberUnless(wanted, nothing) => {
                (is_near(*wanted) || reported.is_none() && wanted == nothing, wanted.to_string())
            }
            Setting::NumberIfReported(wanted) => (reported.is_none() || is_near(*wanted), wanted.to_string()),
            Setting::Reported => (reported.is_some(), "reported".to_owned()),
        };
        (!is_as_expected).then_some(wanted)
    }
}

/// Verifies a picture, and writes it in the format that was asked for. `reported` is the text about it that came beside it,
/// for a file that has none.
///
/// # Errors
///
/// Says what is not as it was asked for.
pub(crate) fn finish(
    file: Vec<u8>,
    reported: Option<&str>,
    expected: &Expected,
    format: Format,
    limits: &PictureLimits,
) -> Result<Picture, String> {
    let decoded = opened(&file, expected.size, limits)?;
    let text = decoded.parameters.clone();
    let text = text.as_deref().or(reported).unwrap_or_default();
    settings(&Infotext::parse(text), expected)?;
    written(file, &decoded, text, expected.seed, format)
}

/// Decodes a picture that came back, and checks its size.
pub(crate) fn opened(file: &[u8], size: (u32, u32), limits: &PictureLimits) -> Result<Decoded, String> {
    let limits = PictureLimits { bytes: file.len() as u64, ..*limits };
    let decoded = decode(file, &limits).map_err(|problem| format!("a picture that came back {problem}"))?;
    check_size(&decoded.image, size)?;
    Ok(decoded)
}

/// Writes a picture in a format, with the text about it. One that has the format already is kept byte for byte.
pub(crate) fn written(
    file: Vec<u8>,
    decoded: &Decoded,
    text: &str,
    seed: i64,
    format: Format,
) -> Result<Picture, String> {
    let bytes = match decoded.header.format.as_format() == Some(format) {
        true => file.into(),
        false => return encoded(&decoded.image, decoded.profile.as_deref(), text, seed, format),
    };
    let (width, height) = (decoded.image.width(), decoded.image.height());
    Ok(Picture { bytes, format, width, height, seed: Some(seed) })
}

/// Encodes a picture with the text about it.
pub(crate) fn encoded(
    image: &DynamicImage,
    profile: Option<&[u8]>,
    text: &str,
    seed: i64,
    format: Format,
) -> Result<Picture, String> {
    let attached = Attached { profile, parameters: Some(text), ..Attached::default() };
    let bytes = encode(image, format, &attached).map_err(|error| error.to_string())?;
    Ok(Picture { bytes, format, width: image.width(), height: image.height(), seed: Some(seed) })
}

/// Compares the size of a picture with the one that was asked for.
pub(crate) fn check_size(image: &DynamicImage, (width, height): (u32, u32)) -> Result<(), String> {
    let (made_width, made_height) = (image.width(), image.height());
    if (made_width, made_height) != (width, height) {
        return Err(format!(
            "{width}x{height} pixels were asked for, and a picture of {made_width}x{made_height} came back"
        ));
    }
    Ok(())
}

/// Compares what is reported about a picture.
pub(crate) fn settings(reported: &Infotext, expected: &Expected) -> Result<(), String> {
    if reported.is_empty() {
        return Err("it does not report how a picture was made, so that nothing can be verified".to_owned());
    }
    let seed = Setting::Text(expected.seed.to_string());
    for (name, setting) in expected.settings.iter().chain([&("Seed", seed)]) {
        let value = reported.get(name);
        if let Some(wanted) = setting.differs(value) {
            let given = value.map_or("nothing".to_owned(), |value| format!("\"{value}\""));
            return Err(format!("\"{name}\" was to be \"{wanted}\", and it reports {given}"));
        }
    }
    let applied = reported.names("Lora hashes");
    match expected.loras.iter().find(|lora| !applied.contains(&lora.as_str())) {
        Some(lora) => Err(format!("it does not report that the LoRA \"{lora}\" was applied")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a cat\nSteps: 4, Sampler: Euler a, CFG scale: 7.0, Seed: 7, Lora hashes: \"one: 12\"";

    fn expected() -> Expected {
        Expected {
            size: (24, 16),
            seed: 7,
            settings: vec![
                ("Steps", Setting::Number(4.0)),
                ("Sampler", Setting::Text("Euler a".to_owned())),
                ("CFG scale", Setting::Number(7.0)),
                ("Clip skip", Setting::NumberUnless(1.0, 1.0)),
                ("Hires CFG Scale", Setting::NumberIfReported(7.0)),
            ],
            loras: vec!["one".to_owned()],
        }
    }

    fn png(text: Option<&str>) -> Vec<u8> {
        let attached = Attached { parameters: text, ..Attached::default() };
        encode(&DynamicImage::new_rgb8(24, 16), Format::Png, &attached).unwrap().into()
    }

    fn check(file: Vec<u8>, reported: Option<&str>, expected: &Expected, format: Format) -> Result<Picture, String> {
        finish(file, reported, expected, format, &PictureLimits::default())
    }

    #[test]
    fn a_picture_as_asked_for_is_kept_byte_for_byte() {
        let file = png(Some(TEXT));
        let picture = check(file.clone(), None, &expected(), Format::Png).unwrap();
        assert_eq!((picture.bytes.as_ref(), picture.seed), (file.as_slice(), Some(7)));
        assert!(check(png(None), Some(TEXT), &expected(), Format::Png).is_ok());
    }

    #[test]
    fn another_format_is_written_by_us_with_the_text() {
        for format in [Format::Jpeg, Format::WebP] {
            let picture = check(png(Some(TEXT)), None, &expected(), format).unwrap();
            let header = imgopen_picture::inspect(&picture.bytes, &PictureLimits::default()).unwrap();
            assert_eq!(header.format.as_format(), Some(format));
            assert_eq!(imgopen_picture::parameters(&picture.bytes).as_deref(), Some(TEXT));
        }
    }

    #[test]
    fn whatever_differs_is_found() {
        type Change = fn(&mut Expected);
        let cases: [(Change, &str); 9] = [
            (|expected| expected.size = (24, 24), "24x24 pixels were asked for, and a picture of 24x16 came back"),
            (|expected| expected.seed = 8, "\"Seed\" was to be \"8\", and it reports \"7\""),
            (
                |expected| expected.settings[0].1 = Setting::Number(5.0),
                "\"Steps\" was to be \"5\", and it reports \"4\"",
            ),
            (|expected| expected.settings[1].1 = Setting::Text("Euler".to_owned()), "it reports \"Euler a\""),
            (|expected| expected.settings[2].1 = Setting::Number(7.1), "\"CFG scale\""),
            (|expected| expected.settings[3].1 = Setting::NumberUnless(2.0, 1.0), "it reports nothing"),
            (|expected| expected.settings[4] = ("CFG scale", Setting::NumberIfReported(1.0)), "\"CFG scale\""),
            (|expected| expected.settings.push(("ADetailer model", Setting::Reported)), "\"ADetailer model\""),
            (|expected| expected.loras.push("two".to_owned()), "the LoRA \"two\""),
        ];
        for (change, problem) in cases {
            let mut expected = expected();
            change(&mut expected);
            let error = check(png(Some(TEXT)), None, &expected, Format::Png).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_verified_is_no_result() {
        let error = check(png(None), None, &expected(), Format::Png).unwrap_err();
        assert!(error.contains("nothing can be verified"), "{error}");
        let mut file = png(Some(TEXT));
        file.truncate(file.len() - 20);
        let error = check(file, None, &expected(), Format::Png).unwrap_err();
        assert!(error.starts_with("a picture that came back"), "{error}");
    }
}
