//! Recognises what says where a picture was taken, by rules instead of lists: names of fields by the words in them, and values by
//! the forms in which positions are written. Names of places that people wrote, such as that of a city, are none of these.

/// Words that only fields about positions have in their names.
const WORDS: [&str; 10] =
    ["gps", "latitud", "longitud", "altitud", "geoloc", "geotag", "geohash", "georef", "latlon", "latlng"];
/// How names begin that have such a word by chance: of how far the speed of film reaches (EXIF 2.3).
const FILM: &str = "isospeed";
/// Whole names of such fields.
const NAMES: [&str; 3] = ["lat", "lon", "lng"];
/// Words in the names of fields that may hold a position, or the name of a place.
const UNSURE: [&str; 5] = ["geo", "location", "coordinate", "position", "place"];
/// Parts of the namespaces about positions: of W3C, GeoRSS, GML, GPX, and cells of mobile phones.
const SPACES: [&str; 5] = ["wgs84", "georss", "opengis", "topografix", "sonyericsson.com/cell"];
/// The prefixes of the first and the last.
const PREFIXES: [&str; 2] = ["geo", "cell"];
/// The longest value that is looked at.
const LONGEST: usize = 200;

/// Returns whether a field is about where the picture was taken. `space` is the namespace of its name, or the prefix for one.
pub(super) fn is_place(space: &str, name: &str, value: &str) -> bool {
    let (plain, value) = (letters(name), value.trim());
    is_name_of_place(space, name)
        || value.len() <= LONGEST
            && (is_position(value) || UNSURE.iter().any(|word| plain.contains(word)) && is_pair(value))
}

/// The same for a text whose keyword may begin with a prefix.
pub(super) fn is_place_text(keyword: &str, text: &str) -> bool {
    let (space, name) = keyword.rsplit_once(':').unwrap_or(("", keyword));
    is_place(space, name, text)
}

fn is_name_of_place(space: &str, name: &str) -> bool {
    let (space, name) = (space.trim().to_ascii_lowercase(), letters(name));
    PREFIXES.contains(&space.as_str())
        || SPACES.iter().any(|part| space.contains(part))
        || NAMES.contains(&name.as_str())
        || !name.starts_with(FILM) && WORDS.iter().any(|word| name.contains(word))
}

/// Returns the letters of a name, in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Returns whether a value is a position by its form alone.
fn is_position(value: &str) -> bool {
    is_tag(value) || is_uri(value) || is_angle(value) || is_iso(value)
}

/// Returns whether a value is a keyword about a position in the form of Flickr: `geo:lat=47.375`.
fn is_tag(value: &str) -> bool {
    let parts = value.split_once('=').and_then(|(name, _)| name.split_once(':'));
    parts.is_some_and(|(space, name)| {
        let is_word =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_word(space) && is_word(name) && is_name_of_place(space, name)
    })
}

/// Returns whether a value is a URI of RFC 5870: `geo:47.375,8.5417`.
fn is_uri(value: &str) -> bool {
    let rest = value.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("geo:")).map(|_| &value[4..]);
    rest.is_some_and(|rest| rest.starts_with(|sign: char| sign.is_ascii_digit() || sign == '-') && rest.contains(','))
}

/// Returns whether a value is one or several angles with a direction, as XMP has them (`47,22.5N`), or as people write them
/// (`47° 22' 30.00" N`).
fn is_angle(value: &str) -> bool {
    let value = value.replace("deg", "°").replace('º', "°");
    let is_direction = |letter: char| matches!(letter.to_ascii_uppercase(), 'N' | 'S' | 'E' | 'W');
    let is_part = |sign: char| {
        is_direction(sign) || sign.is_ascii_digit() || sign.is_whitespace() || "°'\"′″’”.,;+-".contains(sign)
    };
    let has_direction = value.starts_with(is_direction) || value.ends_with(is_direction);
    let has_minutes = value.contains('°') || value.contains(',') && !value.contains(char::is_whitespace);
    has_direction && has_minutes && value.contains(|sign: char| sign.is_ascii_digit()) && value.chars().all(is_part)
}

/// Returns whether a value is a position of ISO 6709: `+47.3750+008.5417/`.
fn is_iso(value: &str) -> bool {
    let Some(numbers) = value.strip_suffix('/').filter(|value| value.starts_with(['+', '-'])) else { return false };
    let numbers = numbers.split_once("CRS").map_or(numbers, |(numbers, _)| numbers);
    let signs = numbers.bytes().filter(|byte| matches!(byte, b'+' | b'-')).count();
    (2..=3).contains(&signs) && numbers.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Returns whether a value is two or three numbers, of which the first two are angles with decimals: `47.375, 8.5417`.
fn is_pair(value: &str) -> bool {
    let is_between = |sign: char| sign.is_whitespace() || ",;/()[]".contains(sign);
    let parts: Vec<_> = value.split(is_between).filter(|part| !part.is_empty()).collect();
    let is_number = |part: &&str| part.parse::<f64>().is_ok_and(f64::is_finite);
    let has_decimals = |part: &&str| {
        part.split_once('.').is_some_and(|(_, decimals)| decimals.len() >= 2)
            && part.parse::<f64>().is_ok_and(|angle| angle.abs() <= 180.0)
    };
    (2..=3).contains(&parts.len()) && parts.iter().all(is_number) && parts[..2].iter().all(has_decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_about_positions_are_recognised_by_their_names() {
        for (space, name) in [
            ("exif", "GPSLatitude"),
            ("drone-dji", "GpsLongtude"),
            ("drone-dji", "Latitude"),
            ("drone-dji", "RelativeAltitude"),
            ("digiKam", "AltitudeAccuracy"),
            ("FLIR", "GeoLocation"),
            ("geo", "long"),
            ("http://www.w3.org/2003/01/geo/wgs84_pos#", "alt"),
            ("http://www.georss.org/georss", "point"),
            ("", "GPS Latitude"),
            ("", "lat"),
            ("", "lat-lon"),
            ("dwc", "decimalLongitude"),
            ("GPS", "GPSMapDatum"),
            ("http://developer.sonyericsson.com/cell/1.0/", "lac"),
        ] {
            assert!(is_place(space, name, ""), "{space}:{name}");
        }
        for (space, name) in [
            ("rdf", "Alt"),
            ("photoshop", "City"),
            ("Iptc4xmpCore", "Location"),
            ("exif", "SubjectLocation"),
            ("exif", "Flash"),
            ("exifEX", "ISOSpeedLatitudeyyy"),
            ("", "Description"),
            ("", "Long description"),
            ("dc", "format"),
            ("tiff", "Orientation"),
        ] {
            assert!(!is_place(space, name, ""), "{space}:{name}");
        }
    }

    /// The first three are the forms of the standard of XMP, part 2, under `GPSCoordinate`, and of ISO 6709, annex H.
    #[test]
    fn positions_are_recognised_by_their_form() {
        for value in [
            "47,22,30N",
            "8,32.502E",
            "+40.20361-075.00417/",
            "+27.5916+086.5640+8850CRSWGS_84/",
            "47°22'30.0\"N, 8°32'30.1\"E",
            "47 deg 22' 30.00\" N",
            " N 47° 22.5 ",
            "geo:lat=47.375",
            "GEO:LON=8.54",
            "geo:47.375,8.5417",
        ] {
            assert!(is_place("dc", "subject", value), "{value}");
        }
        for value in [
            "a walk",
            "N",
            "5 N",
            "24-70mm f/2.8, E mount",
            "1,5",
            "2024-05-01",
            "geotagged",
            "a:b=c",
            "size=3",
            "/",
            "+1/",
        ] {
            assert!(!is_place("dc", "subject", value), "{value}");
        }
    }

    #[test]
    fn pairs_of_numbers_are_positions_where_the_name_suggests_it() {
        for (name, value) in
            [("Location", "47.3750, 8.5417"), ("Coordinates", "(47.37 -8.54 408)"), ("place", "47.37;8.54")]
        {
            assert!(is_place_text(name, value), "{name} {value}");
        }
        for (name, value) in [
            ("Location", "Zürich"),
            ("Location", "Route 66.25, mile 3.75"),
            ("SubjectLocation", "1200 800"),
            ("Location", "640.25 480.75"),
            ("WhitePoint", "0.3127 0.3290"),
        ] {
            assert!(!is_place_text(name, value), "{name} {value}");
        }
    }
}
