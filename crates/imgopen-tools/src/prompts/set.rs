//! The set of modifiers: what they fit, and how they are written.

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use super::{Mode, tokens};

/// The set, compiled in. The file explains its format at its beginning.
const TEXT: &str = include_str!("modifiers.txt");

/// The category that is written before the prompt, for SD.
const BEFORE: &str = "quality";

/// The name for an unknown subject.
const NONE: &str = "none";

/// The decrease of likelihood from one modifier to the next in the set, so that no two are equally likely and the likeliest is
/// always the same.
const STEP: f64 = 1e-4;

/// The fewest letters of a word that counts as repeated.
const WORD: usize = 4;

/// All modifiers.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub categories: Vec<Category>,
    pub modifiers: Vec<Modifier>,
    subjects: Vec<(String, Vec<String>)>,
    hints: Vec<(String, String, Vec<String>)>,
}

/// Modifiers of one kind.
#[derive(Debug)]
pub(super) struct Category {
    name: String,
    /// The most modifiers in a prompt, for SD and for SDXL.
    most: [usize; 2],
    /// The subjects of which a prompt must have one; empty if it need not.
    subjects: Vec<String>,
}

/// One modifier.
#[derive(Debug)]
pub(super) struct Modifier {
    /// The index of its category.
    pub category: usize,
    /// Its likelihood relative to others.
    pub weight: f64,
    /// The axes that it determines, such as `time=night`.
    pub axes: Vec<(String, String)>,
    /// Its text for SD and for SDXL.
    texts: [Option<Text>; 2],
}

/// The text of a modifier.
#[derive(Debug)]
struct Text {
    words: String,
    /// The weight in brackets.
    weight: Option<String>,
    tokens: usize,
    repeated: HashSet<String>,
}

/// The topic of a prompt.
#[derive(Debug)]
pub(super) struct Topic {
    pub subjects: HashSet<String>,
    pub axes: BTreeMap<String, String>,
    pub words: HashSet<String>,
    /// The prompt in lower case.
    pub text: String,
    pub tokens: usize,
}

impl Set {
    /// Returns the set. Invalid lines are skipped; a test ensures that there are none.
    pub fn get() -> &'static Self {
        static SET: OnceLock<Set> = OnceLock::new();
        SET.get_or_init(|| Self::read(TEXT).0)
    }

    /// Parses a set. Returns it with the invalid lines.
    fn read(text: &str) -> (Self, Vec<&str>) {
        let (mut set, mut wrong) = (Self::default(), Vec::new());
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if set.line(line).is_none() {
                wrong.push(line);
            }
        }
        (set, wrong)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect();
        if let Some(header) = line.strip_prefix('[') {
            self.categories.push(Category::read(header.strip_suffix(']')?)?);
        } else if let Some((name, list)) = line.strip_prefix("subject ").and_then(|rest| rest.split_once(':')) {
            self.subjects.push((name.to_owned(), words(list)));
        } else if let Some((name, list)) = line.strip_prefix("hint ").and_then(|rest| rest.split_once(':')) {
            let (axis, value) = name.split_once('=')?;
            self.hints.push((axis.to_owned(), value.to_owned(), words(list)));
        } else {
            let category = self.categories.len().checked_sub(1)?;
            let step = 1.0 - STEP * self.modifiers.len() as f64;
            let modifier = Modifier::read(line, category)?;
            self.modifiers.push(Modifier { weight: modifier.weight * step, ..modifier });
        }
        Some(())
    }

    /// Returns the topic of a prompt, by its words.
    pub fn topic(&self, prompt: &str) -> Topic {
        let text = prompt.to_lowercase();
        let words: HashSet<_> = split(&text).flat_map(|word| [word, word.strip_suffix('s').unwrap_or(word)]).collect();
        // Chinese words are not separated.
        let has =
            |word: &String| if word.is_ascii() { words.contains(word.as_str()) } else { text.contains(word.as_str()) };
        let subjects = self.subjects.iter().filter(|(_, list)| list.iter().any(has)).map(|(name, _)| name.clone());
        let mut axes = BTreeMap::new();
        for (axis, value, _) in self.hints.iter().filter(|(_, _, list)| list.iter().any(has)) {
            axes.entry(axis.clone()).or_insert_with(|| value.clone());
        }
        Topic { subjects: subjects.collect(), axes, words: repeated(&text), tokens: tokens(prompt), text: text.clone() }
    }

    /// Returns the most modifiers of a category.
    pub fn most(&self, category: usize, mode: Mode) -> usize {
        self.categories.get(category).map_or(0, |category| category.most[mode as usize])
    }

    /// Returns the indices of the modifiers that exist in the mode and fit a prompt.
    pub fn fitting(&self, topic: &Topic, mode: Mode) -> Vec<usize> {
        let modifiers = self.modifiers.iter().enumerate();
        modifiers.filter(|(_, modifier)| self.fits(modifier, topic, mode)).map(|(index, _)| index).collect()
    }

    fn fits(&self, modifier: &Modifier, topic: &Topic, mode: Mode) -> bool {
        let Some(text) = &modifier.texts[mode as usize] else { return false };
        let Some(category) = self.categories.get(modifier.category) else { return false };
        let knows =
            |subject: &String| topic.subjects.contains(subject) || (subject == NONE && topic.subjects.is_empty());
        let is_about = category.subjects.is_empty() || category.subjects.iter().any(knows);
        category.most[mode as usize] > 0 && is_about && !topic.text.contains(&text.words.to_lowercase())
    }

    /// Returns the prompt with modifiers, in the order of the set.
    pub fn written(&self, source: &str, drawn: &[usize], mode: Mode) -> String {
        let mut drawn = drawn.to_vec();
        drawn.sort_unstable();
        let drawn = drawn.into_iter().filter_map(|index| self.modifiers.get(index));
        let is_before = |modifier: &&Modifier| {
            mode == Mode::Sd && self.categories.get(modifier.category).is_some_and(|category| category.name == BEFORE)
        };
        let (before, behind): (Vec<&Modifier>, Vec<&Modifier>) = drawn.partition(is_before);
        let written =
            |modifiers: Vec<&Modifier>| modifiers.into_iter().filter_map(|one| one.written(mode)).collect::<Vec<_>>();
        let mut parts = written(before);
        parts.push(source.to_owned());
        parts.extend(written(behind));
        parts.join(", ")
    }
}

impl Category {
    /// Parses `name sd xl`, and subjects.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let name = words.next()?.to_owned();
        let most = [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        let subjects = words.next().map(|subjects| subjects.split(',').map(str::to_owned).collect());
        Some(Self { name, most, subjects: subjects.unwrap_or_default() })
    }
}

impl Modifier {
    /// Parses `weight | SD | SDXL | axes`.
    fn read(line: &str, category: usize) -> Option<Self> {
        let mut columns = line.split('|').map(str::trim);
        let weight = columns.next()?.parse().ok().filter(|weight: &f64| *weight > 0.0)?;
        let (sd, xl) = (columns.next()?, columns.next()?);
        let xl = if xl == "=" { sd } else { xl };
        let axes = columns.next().unwrap_or_default().split(',').map(str::trim).filter(|axis| !axis.is_empty());
        let axes = axes.map(|axis| axis.split_once('=').map(|(axis, value)| (axis.to_owned(), value.to_owned())));
        Some(Self { category, weight, axes: axes.collect::<Option<_>>()?, texts: [sd, xl].map(Text::read) })
    }

    /// Returns an estimate of its tokens, with the comma before it.
    pub fn tokens(&self, mode: Mode) -> usize {
        self.texts[mode as usize].as_ref().map_or(0, |text| text.tokens + 1)
    }

    /// Returns the words that count as repeated.
    pub fn words(&self, mode: Mode) -> impl Iterator<Item = &String> {
        self.texts[mode as usize].iter().flat_map(|text| &text.repeated)
    }

    fn written(&self, mode: Mode) -> Option<String> {
        let Text { words, weight, .. } = self.texts[mode as usize].as_ref()?;
        Some(match weight {
            Some(weight) => format!("({words}:{weight})"),
            None => words.clone(),
        })
    }
}

impl Text {
    fn read(column: &str) -> Option<Self> {
        let (words, weight) = match column.rsplit_once(':') {
            Some((words, weight)) => (words, Some(weight.to_owned())),
            None => (column, None),
        };
        let text = Self { words: words.to_owned(), weight, tokens: tokens(words), repeated: repeated(words) };
        (column != "-").then_some(text)
    }
}

/// Returns the significant words of a text.
fn repeated(text: &str) -> HashSet<String> {
    const COMMON: [&str; 12] =
        ["with", "from", "into", "that", "like", "beside", "behind", "through", "over", "taken", "seen", "high"];
    let words = split(text).filter(|word| word.chars().count() >= WORD && !COMMON.contains(word));
    words.map(|word| word.to_lowercase()).collect()
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_valid() {
        let (set, wrong) = Set::read(TEXT);
        assert_eq!(wrong, [] as [&str; 0]);
        assert!(set.modifiers.len() > 250, "{}", set.modifiers.len());
        let axes: HashSet<_> = set.modifiers.iter().flat_map(|modifier| &modifier.axes).map(|(axis, _)| axis).collect();
        for (axis, ..) in &set.hints {
            assert!(axes.contains(axis), "nothing is decided by {axis}");
        }
        for subject in set.categories.iter().flat_map(|category| &category.subjects) {
            assert!(subject == NONE || set.subjects.iter().any(|(name, _)| name == subject), "no words for {subject}");
        }
        let of = |mode: Mode| set.modifiers.iter().filter_map(move |modifier| modifier.written(mode));
        for mode in [Mode::Sd, Mode::Sdxl] {
            let texts: Vec<_> = of(mode).collect();
            let distinct: HashSet<_> = texts.iter().collect();
            let twice: Vec<_> =
                distinct.iter().filter(|text| texts.iter().filter(|other| other == *text).count() > 1).collect();
            assert!(twice.is_empty(), "{mode:?}: {twice:?}");
            assert!(texts.iter().all(|text| text.is_ascii() && !text.contains("  ") && *text == text.trim()));
        }
    }

    #[test]
    fn words_determine_subject_and_axes() {
        let subjects = |prompt: &str| {
            let mut subjects: Vec<_> = Set::get().topic(prompt).subjects.into_iter().collect();
            subjects.sort();
            subjects
        };
        assert_eq!(subjects("A girl with two cats"), ["animal", "person"]);
        assert_eq!(subjects("concatenation"), [] as [&str; 0]);
        assert_eq!(subjects("一个女孩和一只猫"), ["animal", "person"]);
        let topic = Set::get().topic("an oil painting of a harbour at night");
        assert_eq!(topic.axes.get("look").map(String::as_str), Some("painted"));
        assert_eq!(topic.axes.get("time").map(String::as_str), Some("night"));
    }
}
