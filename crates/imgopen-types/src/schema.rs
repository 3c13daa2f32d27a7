//! The contract as data: what each object of the wire holds and which values it takes.
//!
//! Every generated type has one [`Object`], [`TextEnum`] or [`IntegerEnum`]. The reader checks against it, and so can
//! anything else that needs to know the contract while it runs: a command line that offers a flag for each field, a
//! form, a test that tries every bound.
//!
//! ```
//! use imgopen_types::{SubmitTrainingRequest, Wire, schema::Shape};
//!
//! let epochs = SubmitTrainingRequest::schema().field("maxEpochs").unwrap();
//! assert_eq!(epochs.default, Some("20"));
//! assert_eq!(epochs.shape.expectation(), "a whole number from 10 to 50");
//! ```

use std::fmt;

use crate::address::{EXPECTED, embedded};

pub use crate::pattern::Pattern;

/// An object of the wire.
#[derive(Debug)]
pub struct Object {
    /// The schema's name in the document, which is also the Rust type's name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Where the facts about it come from, if there is more to say than its provenance.
    pub source: Option<&'static str>,
    /// Its members in the document's order, which is their order on the wire.
    pub fields: &'static [Field],
    /// What happens to other members.
    pub unknown: Unknown,
    /// Exactly one of these members must be there; each is a path of names. Empty if there is no such rule.
    pub exactly_one: &'static [&'static [&'static str]],
}

/// What happens to members that the document does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are ignored.
    Ignored,
    /// They are kept in the type's `extra` and written again.
    Kept,
    /// They are an error.
    Refused,
}

/// A member of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it means, with unit, range and default.
    pub about: &'static str,
    /// How well it is known.
    pub provenance: Provenance,
    /// Where the facts about it come from, if there is more to say than its provenance.
    pub source: Option<&'static str>,
    /// Whether it names pictures: it holds the URL of one, or a list of such URLs.
    pub picture: bool,
    /// Whether it is required.
    pub required: bool,
    /// Whether `null` is a value of its own.
    pub nullable: bool,
    /// Other spellings that are accepted when reading.
    pub aliases: &'static [&'static str],
    /// Other JSON types that are accepted when reading.
    pub accepts: &'static [JsonType],
    /// The default, which applies when the field is left out, as JSON text.
    pub default: Option<&'static str>,
    /// The form of its value.
    pub shape: Shape,
}

/// How well a fact of the contract is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// It stands on a public page of the API.
    Published,
    /// A part of it does; the rest is inferred.
    Partial,
    /// It was seen in a public client of the API.
    Observed,
    /// It was inferred from its neighbours.
    Inferred,
}

/// A type of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// A text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// `null`.
    Null,
}

/// The form of a value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer(Integer),
    /// A number.
    Number(Number),
    /// A text.
    Text(Text),
    /// A list of values of one form.
    List(&'static List),
    /// A text out of a set.
    TextEnum(&'static TextEnum),
    /// A number with known meanings.
    IntegerEnum(&'static IntegerEnum),
    /// An object.
    Object(&'static Object),
}

/// Rules of a whole number.
#[derive(Debug, Clone, Copy)]
pub struct Integer {
    /// The minimum, inclusive unless stated otherwise.
    pub minimum: Option<i64>,
    /// The maximum, inclusive.
    pub maximum: Option<i64>,
    /// The only values allowed; empty if there is no such list.
    pub one_of: &'static [i64],
}

/// Rules of a number.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// The minimum, inclusive unless stated otherwise.
    pub minimum: Option<f64>,
    /// The maximum, inclusive.
    pub maximum: Option<f64>,
    /// Whether the value must lie above the minimum, not on it.
    pub above_minimum: bool,
}

/// Rules of a text. Lengths count characters (Unicode scalar values).
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The minimum number of characters.
    pub min_length: Option<usize>,
    /// The maximum number of characters.
    pub max_length: Option<usize>,
    /// A pattern that it must match somewhere.
    pub pattern: Option<&'static Pattern>,
    /// The rule for the number that it holds, if it holds one.
    pub numeric: Option<Numeric>,
}

/// Rules of a number that is sent as text, so that no digit is lost. Decimal and exponent notation are both read.
#[derive(Debug, Clone, Copy)]
pub struct Numeric {
    /// The minimum, inclusive unless stated otherwise.
    pub minimum: Option<f64>,
    /// The maximum, inclusive.
    pub maximum: Option<f64>,
    /// Whether it must be a whole number without an exponent.
    pub integer: bool,
}

/// Rules of a list.
#[derive(Debug)]
pub struct List {
    /// The form of its items.
    pub item: Shape,
    /// The minimum number of items.
    pub min_items: Option<usize>,
    /// The maximum number of items.
    pub max_items: Option<usize>,
    /// Whether items must be unique.
    pub unique: bool,
}

/// A text out of a set.
#[derive(Debug)]
pub struct TextEnum {
    /// The schema's name in the document.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Where the facts about it come from, if there is more to say than the provenance of its values.
    pub source: Option<&'static str>,
    /// The known values.
    pub values: &'static [Choice<&'static str>],
    /// Whether other values are accepted as well.
    pub open: bool,
}

/// A number whose known values have meanings; other values are accepted as well.
#[derive(Debug)]
pub struct IntegerEnum {
    /// The schema's name in the document.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Where the facts about it come from, if there is more to say than the provenance of its values.
    pub source: Option<&'static str>,
    /// The known values.
    pub values: &'static [Choice<i64>],
}

/// One known value.
#[derive(Debug)]
pub struct Choice<T> {
    /// The value on the wire.
    pub value: T,
    /// What it means.
    pub about: &'static str,
    /// How well it is known.
    pub provenance: Provenance,
    /// Where it comes from, if there is more to say than its provenance.
    pub source: Option<&'static str>,
}

impl Object {
    /// Returns the field with that canonical name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the index of the field with that name, in any spelling. Members mostly come in the declared order, so the
    /// search begins at `expected`.
    pub(crate) fn position(&self, name: &str, expected: usize) -> Option<usize> {
        (expected..self.fields.len()).chain(0..expected).find(|index| {
            let field = &self.fields[*index];
            field.name == name || field.aliases.contains(&name)
        })
    }
}

impl Field {
    /// Makes a required field.
    pub const fn required(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            about: "",
            provenance: Provenance::Published,
            source: None,
            picture: false,
            required: true,
            nullable: false,
            aliases: &[],
            accepts: &[],
            default: None,
            shape,
        }
    }

    /// Makes an optional field.
    pub const fn optional(name: &'static str, shape: Shape) -> Self {
        Self { required: false, ..Self::required(name, shape) }
    }

    /// Sets what it means.
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Sets how well it is known.
    pub const fn provenance(self, provenance: Provenance) -> Self {
        Self { provenance, ..self }
    }

    /// Sets where the facts about it come from.
    pub const fn source(self, source: &'static str) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Marks it as naming pictures.
    pub const fn picture(self) -> Self {
        Self { picture: true, ..self }
    }

    /// Allows `null` as a value of its own.
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Sets its other spellings.
    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// Sets the other JSON types that are accepted when reading.
    pub const fn accepts(self, accepts: &'static [JsonType]) -> Self {
        Self { accepts, ..self }
    }

    /// Sets the default, as JSON text.
    pub const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }
}

/// Setters that the generated tables are written with.
macro_rules! rules {
    ($name:ident { $($field:ident: $type:ty = $none:expr => $value:expr;)+ }) => {
        impl $name {
            /// No rules.
            pub const ANY: Self = Self { $($field: $none),+ };

            $(
                #[doc = concat!("Sets `", stringify!($field), "`.")]
                pub const fn $field(self, $field: $type) -> Self {
                    Self { $field: $value, ..self }
                }
            )+
        }
    };
}

rules!(Integer {
    minimum: i64 = None => Some(minimum);
    maximum: i64 = None => Some(maximum);
    one_of: &'static [i64] = &[] => one_of;
});

rules!(Number {
    minimum: f64 = None => Some(minimum);
    maximum: f64 = None => Some(maximum);
    above_minimum: bool = false => above_minimum;
});

rules!(Text {
    min_length: usize = None => Some(min_length);
    max_length: usize = None => Some(max_length);
    pattern: &'static Pattern = None => Some(pattern);
    numeric: Numeric = None => Some(numeric);
});

rules!(Numeric {
    minimum: f64 = None => Some(minimum);
    maximum: f64 = None => Some(maximum);
    integer: bool = false => integer;
});

impl List {
    /// Makes a list of such items, of any length.
    pub const fn of(item: Shape) -> Self {
        Self { item, min_items: None, max_items: None, unique: false }
    }

    /// Sets `min_items`.
    pub const fn min_items(self, min_items: usize) -> Self {
        Self { min_items: Some(min_items), ..self }
    }

    /// Sets `max_items`.
    pub const fn max_items(self, max_items: usize) -> Self {
        Self { max_items: Some(max_items), ..self }
    }

    /// Sets `unique`.
    pub const fn unique(self, unique: bool) -> Self {
        Self { unique, ..self }
    }
}

impl Provenance {
    /// Returns the word that the document uses.
    pub const fn word(self) -> &'static str {
        match self {
            Provenance::Published => "published",
            Provenance::Partial => "partial",
            Provenance::Observed => "observed",
            Provenance::Inferred => "inferred",
        }
    }
}

impl Shape {
    /// Names the values that fit, such as "a whole number from 10 to 50". Error messages end with it.
    pub fn expectation(&self) -> String {
        match self {
            Shape::Boolean => "true or false".to_owned(),
            Shape::Integer(rules) if !rules.one_of.is_empty() => format!("one of {}", join(rules.one_of.iter())),
            Shape::Integer(rules) => format!("a whole number{}", range(rules.minimum, rules.maximum, false)),
            Shape::Number(rules) => format!("a number{}", range(rules.minimum, rules.maximum, rules.above_minimum)),
            Shape::Text(rules) => rules.expectation(),
            Shape::List(rules) => rules.expectation(),
            Shape::TextEnum(set) => {
                let values = join(set.values.iter().map(|choice| format!("\"{}\"", choice.value)));
                if set.open { format!("a text, such as {values}") } else { format!("one of {values}") }
            }
            Shape::IntegerEnum(_) => "a whole number".to_owned(),
            Shape::Object(_) => "an object".to_owned(),
        }
    }
}

impl Text {
    fn expectation(&self) -> String {
        if let Some(numeric) = &self.numeric {
            let kind = if numeric.integer { "a whole number" } else { "a number" };
            return format!("{kind}{} as text", range(numeric.minimum, numeric.maximum, false));
        }
        let mut text = match (self.min_length, self.max_length) {
            (None | Some(0), None) => "a text".to_owned(),
            (Some(1), None) => "a text that is not empty".to_owned(),
            (min, max) => format!("a text of {}", amount(min, max, "character")),
        };
        match self.pattern {
            Some(pattern) if pattern.is_address() => EXPECTED.to_owned(),
            Some(pattern) => {
                text += &format!(" that matches `{}`", pattern.as_str());
                text
            }
            None => text,
        }
    }

    /// Describes a text that breaks the rules, and what to do about it.
    pub(crate) fn complaint(&self, text: &str) -> Option<String> {
        self.pattern.filter(|pattern| pattern.is_address())?;
        let kind = embedded(text)?;
        Some(format!(
            "{kind} given, which is not taken; put the file where the server can fetch it, and give {EXPECTED}"
        ))
    }
}

impl List {
    fn expectation(&self) -> String {
        match (self.min_items, self.max_items) {
            (None, None) => "a list".to_owned(),
            (min, max) => format!("a list of {}", amount(min, max, "item")),
        }
    }
}

fn range<T: fmt::Display>(minimum: Option<T>, maximum: Option<T>, above: bool) -> String {
    match (minimum, maximum) {
        (None, None) => String::new(),
        (Some(min), None) if above => format!(" above {min}"),
        (Some(min), None) => format!(" of at least {min}"),
        (None, Some(max)) => format!(" of at most {max}"),
        (Some(min), Some(max)) if above => format!(" above {min} and up to {max}"),
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
    }
}

fn amount(minimum: Option<usize>, maximum: Option<usize>, unit: &str) -> String {
    let plural = if maximum.or(minimum) == Some(1) { "" } else { "s" };
    match (minimum, maximum) {
        (Some(min), Some(max)) if min == max => format!("{min} {unit}{plural}"),
        (Some(min), Some(max)) => format!("{min} to {max} {unit}{plural}"),
        (Some(min), None) => format!("at least {min} {unit}{plural}"),
        (None, Some(max)) => format!("at most {max} {unit}{plural}"),
        (None, None) => format!("any number of {unit}s"),
    }
}

fn join(values: impl Iterator<Item = impl fmt::Display>) -> String {
    values.map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_read_as_english() {
        static LIST: List = List::of(Shape::Boolean).min_items(10).max_items(100);
        static AT_LEAST: List = List::of(Shape::Boolean).min_items(1);
        let number = |minimum, maximum, above_minimum| Shape::Number(Number { minimum, maximum, above_minimum });
        let text = |min_length, max_length| Shape::Text(Text { min_length, max_length, ..Text::ANY });
        let numeric = |minimum, maximum, integer| {
            Shape::Text(Text { numeric: Some(Numeric { minimum, maximum, integer }), ..Text::ANY })
        };
        for (shape, expected) in [
            (Shape::Integer(Integer::ANY.minimum(1)), "a whole number of at least 1"),
            (Shape::Integer(Integer::ANY.one_of(&[0, 150])), "one of 0, 150"),
            (number(Some(0.0), Some(1.0), true), "a number above 0 and up to 1"),
            (number(None, Some(2.5), false), "a number of at most 2.5"),
            (number(None, None, false), "a number"),
            (text(Some(1), None), "a text that is not empty"),
            (text(Some(2), Some(8)), "a text of 2 to 8 characters"),
            (text(None, Some(8)), "a text of at most 8 characters"),
            (numeric(Some(0.0000001), Some(0.0001), false), "a number from 0.0000001 to 0.0001 as text"),
            (numeric(None, None, true), "a whole number as text"),
            (Shape::List(&LIST), "a list of 10 to 100 items"),
            (Shape::List(&AT_LEAST), "a list of at least 1 item"),
        ] {
            assert_eq!(shape.expectation(), expected);
        }
    }
}
