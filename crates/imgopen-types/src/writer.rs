//! Writes what a builder holds as JSON text and checks it against its schema on the way, so that a valid value need not be written,
//! read and written again.
//!
//! What is written surely fits, and is in canonical form. Rare cases (rules on several members, members in another order) are left to
//! the reader, and so are all messages.

use std::fmt;

use serde::ser::{Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use crate::schema::{Field, List, Object, Shape, Unknown};

/// The text of a value, if it surely fits.
pub(crate) fn write(schema: &'static Object, value: &impl Serialize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(512);
    let writer = Writer { shape: Shape::Object(schema), nullable: false, text: &mut text };
    value.serialize(writer).is_ok().then_some(text)
}

/// It does not fit, or cannot be judged here.
#[derive(Debug)]
struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not judged by the writer")
    }
}

impl std::error::Error for Unfit {}

impl Error for Unfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Outcome = Result<(), Unfit>;

fn sure(fits: bool) -> Outcome {
    if fits { Ok(()) } else { Err(Unfit) }
}

/// Writes a value that fits, as serde_json does.
fn put(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Outcome {
    serde_json::to_writer(text, value).map_err(|_| Unfit)
}

/// Writes a text. Most need no escapes, which is seen at once for many bytes.
fn put_text(text: &mut Vec<u8>, value: &str) -> Outcome {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if !value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return put(text, value);
    }
    text.reserve(value.len() + 2);
    text.push(b'"');
    text.extend_from_slice(value.as_bytes());
    text.push(b'"');
    Ok(())
}

/// Writes one value.
struct Writer<'a> {
    shape: Shape,
    nullable: bool,
    text: &'a mut Vec<u8>,
}

/// Kinds of values that no builder holds.
macro_rules! unfit {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, _: $type) -> Result<Self::Ok, Unfit> { Err(Unfit) })*
    };
}

/// The rest of what a serializer must have, all of it unfit.
macro_rules! unfit_compounds {
    () => {
        type SerializeTuple = Impossible<Self::Ok, Unfit>;
        type SerializeTupleStruct = Impossible<Self::Ok, Unfit>;
        type SerializeTupleVariant = Impossible<Self::Ok, Unfit>;
        type SerializeStructVariant = Impossible<Self::Ok, Unfit>;

        unfit! {
            serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_u8(u8); serialize_u16(u16);
            serialize_u32(u32); serialize_u64(u64); serialize_f32(f32); serialize_char(char); serialize_bytes(&[u8]);
            serialize_unit_struct(&'static str);
        }

        fn serialize_unit(self) -> Result<Self::Ok, Unfit> {
            Err(Unfit)
        }

        fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Self::Ok, Unfit> {
            Err(Unfit)
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Self::Ok, Unfit> {
            Err(Unfit)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, Unfit> {
            Err(Unfit)
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unfit> {
            Err(Unfit)
        }

        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unfit> {
            Err(Unfit)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Unfit> {
            Err(Unfit)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Unfit> {
            Err(Unfit)
        }
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Items<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;

    unfit_compounds!();

    fn serialize_bool(self, value: bool) -> Outcome {
        sure(matches!(self.shape, Shape::Boolean))?;
        put(self.text, &value)
    }

    fn serialize_i64(self, value: i64) -> Outcome {
        sure(match self.shape {
            Shape::Integer(rules) => rules.allows(value),
            Shape::Number(rules) => rules.allows(value as f64),
            Shape::IntegerEnum(_) => true,
            _ => false,
        })?;
        put(self.text, &value)
    }

    fn serialize_f64(self, value: f64) -> Outcome {
        sure(matches!(self.shape, Shape::Number(rules) if value.is_finite() && rules.allows(value)))?;
        put(self.text, &value)
    }

    fn serialize_str(self, value: &str) -> Outcome {
        sure(match self.shape {
            Shape::Text(rules) => rules.broken(value).is_none(),
            Shape::TextEnum(set) => set.open || set.values.iter().any(|choice| choice.value == value),
            _ => false,
        })?;
        put_text(self.text, value)
    }

    fn serialize_none(self) -> Outcome {
        sure(self.nullable)?;
        put(self.text, &())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Unfit> {
        match self.shape {
            Shape::List(rules) if !rules.unique => {
                self.text.push(b'[');
                Ok(Items { rules, count: 0, text: self.text })
            }
            _ => Err(Unfit),
        }
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Unfit> {
        match self.shape {
            Shape::Object(schema) if schema.exactly_one.is_empty() => {
                self.text.push(b'{');
                Ok(Members { schema, next: 0, required: 0, current: None, empty: true, text: self.text })
            }
            _ => Err(Unfit),
        }
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Members<'a>, Unfit> {
        self.serialize_map(Some(length))
    }
}

/// Writes a list.
struct Items<'a> {
    rules: &'static List,
    count: usize,
    text: &'a mut Vec<u8>,
}

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Outcome {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
        item.serialize(Writer { shape: self.rules.item, nullable: false, text: self.text })
    }

    fn end(self) -> Outcome {
        self.text.push(b']');
        let enough = self.rules.min_items.is_none_or(|least| self.count >= least);
        sure(enough && self.rules.max_items.is_none_or(|most| self.count <= most))
    }
}

/// Writes the members of an object, which must come in the declared order and under the declared names. Those that the
/// document does not name come last.
struct Members<'a> {
    schema: &'static Object,
    /// Where the next member may stand at the earliest.
    next: usize,
    /// How many required ones have come.
    required: usize,
    current: Option<&'static Field>,
    empty: bool,
    text: &'a mut Vec<u8>,
}

impl Members<'_> {
    fn name(&mut self, name: &str) -> Outcome {
        if !self.empty {
            self.text.push(b',');
        }
        self.empty = false;
        put_text(self.text, name)?;
        self.text.push(b':');
        let Some(index) = self.schema.position(name, self.next) else {
            self.next = self.schema.fields.len();
            self.current = None;
            return sure(self.schema.unknown == Unknown::Kept);
        };
        let field = &self.schema.fields[index];
        let in_order = index >= self.next;
        self.next = index + 1;
        self.required += usize::from(field.required);
        self.current = Some(field);
        sure(in_order && field.name == name)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        let Some(field) = self.current else { return self.other(value) };
        value.serialize(Writer { shape: field.shape, nullable: field.nullable, text: self.text })
    }

    /// A member that the document does not name may hold anything, but the reader limits its nesting.
    fn other<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        const DEEPEST: usize = 64;
        let before = self.text.len();
        put(self.text, value)?;
        sure(self.text[before..].iter().filter(|byte| matches!(byte, b'[' | b'{')).count() <= DEEPEST)
    }

    fn all(self) -> Outcome {
        self.text.push(b'}');
        sure(self.required == self.schema.fields.iter().filter(|field| field.required).count())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Outcome {
        self.name(name)?;
        self.value(value)
    }

    fn end(self) -> Outcome {
        self.all()
    }
}

/// A type that may have other members is written as a map.
impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Outcome {
        name.serialize(Name(self))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
        self.value(value)
    }

    fn end(self) -> Outcome {
        self.all()
    }
}

/// Takes the name of a member, which is a text.
struct Name<'a, 'b>(&'a mut Members<'b>);

impl Serializer for Name<'_, '_> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Impossible<(), Unfit>;
    type SerializeMap = Impossible<(), Unfit>;
    type SerializeStruct = Impossible<(), Unfit>;

    unfit_compounds!();
    unfit! { serialize_bool(bool); serialize_i64(i64); serialize_f64(f64); }

    fn serialize_str(self, name: &str) -> Outcome {
        self.0.name(name)
    }

    fn serialize_none(self) -> Outcome {
        Err(Unfit)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Outcome {
        Err(Unfit)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Unfit> {
        Err(Unfit)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unfit> {
        Err(Unfit)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Unfit> {
        Err(Unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OverrideSettings, TextToImageRequest, TextToImageScripts, Wire};

    #[test]
    fn a_builder_that_fits_is_written_without_the_reader() {
        let scripts = TextToImageScripts::builder().sd_model_checkpoint("m").id_task("1");
        let request = TextToImageRequest::builder().batch_size(1).prompt("p").cfg_scale(7.0);
        let fits = |request| write(TextToImageRequest::schema(), &request).is_some();
        assert!(fits(request.clone().alwayson_scripts(scripts.clone())));
        assert!(!fits(request.clone()), "a required member is missing");
        assert!(!fits(request.clone().alwayson_scripts(TextToImageScripts::builder().id_task("1"))), "also inside");
        let whole = request.clone().alwayson_scripts(scripts.clone());
        assert!(fits(whole.clone().extra("colour", 1)), "other members may be there");
        assert!(!fits(whole.clone().extra("steps", 1).extra("n_iter", 1)), "but not before the declared ones");
        let deep = (0..100).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]));
        assert!(!fits(whole.extra("colour", deep)), "nor too deep");
        let overridden = scripts.override_settings(OverrideSettings::builder().clip_stop_at_last_layers(2));
        assert!(fits(request.alwayson_scripts(overridden)));
    }

    /// By the grammar of JSON: what must be escaped is, and nothing else.
    #[test]
    fn texts_and_numbers_are_written_as_json_has_them() {
        for (text, written) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("Zürich \u{7f} 猫 🐈", "\"Zürich \u{7f} 猫 🐈\""),
            (
                "a \"quoted\" one, far behind the first sixteen bytes",
                r#""a \"quoted\" one, far behind the first sixteen bytes""#,
            ),
            ("back\\slash", r#""back\\slash""#),
            ("line\nend\t\u{1}", r#""line\nend\t\u0001""#),
        ] {
            let mut found = Vec::new();
            put_text(&mut found, text).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), written);
        }
        let scripts = TextToImageScripts::builder().sd_model_checkpoint("m").id_task("1");
        let request = TextToImageRequest::builder().prompt("a\"b").cfg_scale(7.0).alwayson_scripts(scripts);
        let request =
            request.batch_size(1).denoising_strength(0.25).extra("x\"y", serde_json::json!([null, {"z": 0.5}]));
        let written = write(TextToImageRequest::schema(), &request).map(|text| String::from_utf8(text).unwrap());
        let expected = r#"{"batch_size":1,"prompt":"a\"b","cfg_scale":7,"denoising_strength":0.25,"alwayson_scripts":{"sd_model_checkpoint":"m","id_task":"1"},"x\"y":[null,{"z":0.5}]}"#;
        assert_eq!(written.as_deref(), Some(expected));
    }
}
