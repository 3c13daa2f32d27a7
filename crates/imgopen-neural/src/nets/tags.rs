//! The names of the tags that a net of the operator's own scores, which lie in a file beside it: `selected_tags.csv` of WD14
//! taggers, or `tags.txt` of DeepDanbooru.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The largest file.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The scores from which tags are given.
const GENERAL: f32 = 0.35;
const CHARACTER: f32 = 0.85;
const DEEPDANBOORU: f32 = 0.5;

/// The numbers of categories in `selected_tags.csv`.
const IS_CHARACTER: u32 = 4;
const IS_RATING: u32 = 9;

/// Which family of nets the names are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Wd14,
    DeepDanbooru,
}

/// The names of all tags, in the order of the scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Names {
    pub family: Family,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, PartialEq)]
struct Tag {
    name: String,
    /// The score from which it is given; `None` for ratings, which are not.
    least: Option<f32>,
}

impl Family {
    /// All families, in the order in which their files are looked for.
    pub const ALL: [Family; 2] = [Family::Wd14, Family::DeepDanbooru];

    /// Returns the name of the file with the names.
    pub fn file(self) -> &'static str {
        match self {
            Self::Wd14 => "selected_tags.csv",
            Self::DeepDanbooru => "tags.txt",
        }
    }
}

impl Names {
    /// Reads the file beside a net.
    ///
    /// # Errors
    ///
    /// Says why there is none that can be used, and what to do.
    pub fn beside(net: &Path) -> Result<Self, String> {
        for family in Family::ALL {
            let named = |problem: String| format!("`{}`: {problem}", family.file());
            if let Some(text) = read(&net.with_file_name(family.file())).map_err(named)? {
                return Self::parse(family, &text).map_err(named);
            }
        }
        let missing = "neither `selected_tags.csv` nor `tags.txt` is beside it; put the one that belongs to it into the same directory";
        Err(missing.to_owned())
    }

    fn parse(family: Family, text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        let tags = match family {
            Family::Wd14 => table(text)?,
            Family::DeepDanbooru => {
                text.lines().enumerate().map(|(index, line)| listed(index, line)).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { family, tags })
    }

    /// Compares the number of names with that of the scores of a net.
    ///
    /// # Errors
    ///
    /// Says how many scores there should be.
    pub fn fit(&self, scores: usize) -> Result<(), String> {
        let (file, own) = (self.family.file(), self.tags.len());
        match scores == own {
            true => Ok(()),
            false => {
                Err(format!("it scores {scores} tags, and `{file}` names {own}; put the one that belongs to it there"))
            }
        }
    }

    /// Returns the tags whose scores are high enough, as the web UI writes them: in alphabetical order, with spaces in place of
    /// underscores, and with a backslash before what has a meaning in prompts.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub fn given(&self, scores: &[f32]) -> Result<Vec<String>, String> {
        self.fit(scores.len())?;
        let high = self.tags.iter().zip(scores).filter(|(tag, score)| tag.least.is_some_and(|least| **score >= least));
        let mut names: Vec<&str> = high.map(|(tag, _)| tag.name.as_str()).collect();
        names.sort_unstable();
        Ok(names.into_iter().map(written).collect())
    }
}

/// Reads a file, if it is there.
fn read(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 <= LARGEST {
        true => Ok(Some(text)),
        false => Err(format!("it is larger than {LARGEST} bytes; put the one that belongs to the net there")),
    }
}

/// Reads a line of `tags.txt`.
fn listed(index: usize, line: &str) -> Result<Tag, String> {
    match line.trim() {
        "" => Err(format!("line {} is empty; put the file that belongs to the net there", index + 1)),
        name => Ok(Tag { name: name.to_owned(), least: (!name.starts_with("rating:")).then_some(DEEPDANBOORU) }),
    }
}

/// Reads a table with the columns `name` and `category`.
fn table(text: &str) -> Result<Vec<Tag>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let head = lines.next().and_then(|(_, line)| fields(line)).unwrap_or_default();
    let column = |name: &str| head.iter().position(|field| field.trim() == name);
    let (Some(name), Some(category)) = (column("name"), column("category")) else {
        return Err(
            "its first line does not have `name` and `category`; put the file that belongs to the net there".to_owned()
        );
    };
    let tag = |line: &str| {
        let fields = fields(line)?;
        let (name, category) = (fields.get(name)?.trim(), fields.get(category)?.trim().parse::<u32>().ok()?);
        let least = match category {
            IS_RATING => None,
            IS_CHARACTER => Some(CHARACTER),
            _ => Some(GENERAL),
        };
        (!name.is_empty() && fields.len() == head.len()).then(|| Tag { name: name.to_owned(), least })
    };
    let tags = lines.map(|(index, line)| {
        // To leave it out would give all later scores to the wrong tags.
        tag(line).ok_or_else(|| format!("line {} is not a tag; put the file that belongs to the net there", index + 1))
    });
    tags.collect()
}

/// Splits a line of a table, whose fields may be quoted; `None` if a quote has no end.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    (!is_quoted).then_some(fields)
}

fn written(name: &str) -> String {
    name.chars().fold(String::new(), |mut text, character| {
        match character {
            '_' => text.push(' '),
            '\\' | '(' | ')' => text.extend(['\\', character]),
            other => text.push(other),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "tag_id,name,category,count\n\
        1,general,9,10\n\
        2,explicit,9,10\n\
        470575,1girl,0,4225150\n\
        13197,long_hair,0,2982517\n\
        7,\"a,_b\",0,1\n\
        8,\"say_\"\"hi\"\"\",0,1\n\
        9,hatsune_miku_(vocaloid),4,7\n";

    fn wd14(text: &str) -> Result<Names, String> {
        Names::parse(Family::Wd14, text)
    }

    #[test]
    fn tags_are_given_by_category_and_score() {
        let names = wd14(TABLE).unwrap();
        let given = |scores: &[f32]| names.given(scores).unwrap();
        assert_eq!(given(&[1.0, 1.0, 0.35, 0.34, 0.2, 0.2, 0.84]), ["1girl"]);
        let all = ["1girl", "a, b", "hatsune miku \\(vocaloid\\)", "long hair", "say \"hi\""];
        assert_eq!(given(&[0.0, 0.0, 0.9, 0.35, 0.5, 0.5, 0.85]), all);
        assert_eq!(given(&[1.0, 1.0, 0.0, 0.0, f32::NAN, 0.0, 0.0]), [""; 0]);
        let error = names.given(&[0.5; 3]).unwrap_err();
        assert!(error.contains("it scores 3 tags, and `selected_tags.csv` names 7"), "{error}");
    }

    #[test]
    fn a_list_has_one_threshold() {
        let names = Names::parse(Family::DeepDanbooru, "\u{feff}1girl\r\nblue_\\eyes\r\nrating:safe\n").unwrap();
        assert_eq!(names.given(&[0.5, 0.51, 0.99]), Ok(vec!["1girl".to_owned(), "blue \\\\eyes".to_owned()]));
        assert_eq!(names.given(&[0.49, 0.1, 0.99]), Ok(Vec::new()));
        let error = Names::parse(Family::DeepDanbooru, "a\n\nb\n").unwrap_err();
        assert!(error.starts_with("line 2 is empty"), "{error}");
    }

    #[test]
    fn other_columns_may_come_first() {
        let names = wd14("\u{feff}category,count,name\r\n9,1,safe\r\n0,1,sky\r\n\r\n").unwrap();
        assert_eq!(names.given(&[1.0, 1.0]), Ok(vec!["sky".to_owned()]));
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, expected) in [
            ("", "its first line does not have `name` and `category`"),
            ("tag_id,name\n1,a\n", "its first line does not have `name` and `category`"),
            ("name,category\na,0\nb\n", "line 3 is not a tag"),
            ("name,category\na,zero\n", "line 2 is not a tag"),
            ("name,category\na,-1\n", "line 2 is not a tag"),
            ("name,category\n,0\n", "line 2 is not a tag"),
            ("name,category\na,0,7\n", "line 2 is not a tag"),
            ("name,category\n\"a,0\n", "line 2 is not a tag"),
            ("name,category\n\nb,0\nc,9999999999\n", "line 4 is not a tag"),
        ] {
            let error = wd14(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_file_beside_a_net_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net.onnx");
        assert!(Names::beside(&net).unwrap_err().contains("neither `selected_tags.csv` nor `tags.txt`"));
        std::fs::write(folder.path().join("tags.txt"), "sky\n").unwrap();
        assert_eq!(Names::beside(&net).unwrap().family, Family::DeepDanbooru);
        std::fs::write(folder.path().join("selected_tags.csv"), TABLE).unwrap();
        assert_eq!(Names::beside(&net).unwrap().family, Family::Wd14);
        std::fs::write(folder.path().join("selected_tags.csv"), b"name,category\n\xff,0\n").unwrap();
        let error = Names::beside(&net).unwrap_err();
        assert!(error.starts_with("`selected_tags.csv`: "), "{error}");
    }
}
