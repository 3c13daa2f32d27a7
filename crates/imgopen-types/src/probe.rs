//! A quick check of whether a value from a builder fits its schema, so that a valid one need not be written and read
//! again.
//!
//! A yes is certain, and also means that the builder writes the canonical form. A no is not: rare cases (rules on several
//! members, members in another order) are left to the reader, and so are all messages.

use std::fmt;

use serde::ser::{Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

use crate::schema::{Field, List, Object, Shape, Unknown};

/// Whether the value surely fits.
pub(crate) fn fits(schema: &'static Object, value: &impl Serialize) -> bool {
    value.serialize(Probe { shape: Shape::Object(schema), nullable: false }).is_ok()
}

/// It does not fit, or cannot be judged here.
#[derive(Debug)]
struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not judged by the probe")
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

/// Judges one value.
struct Probe {
    shape: Shape,
    nullable: bool,
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

impl Serializer for Probe {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Items;
    type SerializeMap = Members;
    type SerializeStruct = Members;

    unfit_compounds!();

    fn serialize_bool(self, _: bool) -> Outcome {
        sure(matches!(self.shape, Shape::Boolean))
    }

    fn serialize_i64(self, value: i64) -> Outcome {
        sure(match self.shape {
            Shape::Integer(rules) => rules.allows(value),
            Shape::Number(rules) => rules.allows(value as f64),
            Shape::IntegerEnum(_) => true,
            _ => false,
        })
    }

    fn serialize_f64(self, value: f64) -> Outcome {
        sure(matches!(self.shape, Shape::Number(rules) if value.is_finite() && rules.allows(value)))
    }

    fn serialize_str(self, text: &str) -> Outcome {
        sure(match self.shape {
            Shape::Text(rules) => rules.broken(text).is_none(),
            Shape::TextEnum(set) => set.open || set.values.iter().any(|choice| choice.value == text),
            _ => false,
        })
    }

    fn serialize_none(self) -> Outcome {
        sure(self.nullable)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Unfit> {
        match self.shape {
            Shape::List(rules) if !rules.unique => Ok(Items { rules, count: 0 }),
            _ => Err(Unfit),
        }
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members, Unfit> {
        match self.shape {
            Shape::Object(schema) if schema.exactly_one.is_empty() => {
                Ok(Members { schema, next: 0, required: 0, current: None })
            }
            _ => Err(Unfit),
        }
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Members, Unfit> {
        self.serialize_map(Some(length))
    }
}

/// Judges a list.
struct Items {
    rules: &'static List,
    count: usize,
}

impl SerializeSeq for Items {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Outcome {
        self.count += 1;
        item.serialize(Probe { shape: self.rules.item, nullable: false })
    }

    fn end(self) -> Outcome {
        let enough = self.rules.min_items.is_none_or(|least| self.count >= least);
        sure(enough && self.rules.max_items.is_none_or(|most| self.count <= most))
    }
}

/// Judges the members of an object, which must come in the declared order and under the declared names. Those that the
/// document does not name come last.
struct Members {
    schema: &'static Object,
    /// Where the next member may stand at the earliest.
    next: usize,
    /// How many required ones have come.
    required: usize,
    current: Option<&'static Field>,
}

impl Members {
    fn name(&mut self, name: &str) -> Outcome {
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
        let Some(field) = self.current else { return other(value) };
        value.serialize(Probe { shape: field.shape, nullable: field.nullable })
    }

    fn all(self) -> Outcome {
        sure(self.required == self.schema.fields.iter().filter(|field| field.required).count())
    }
}

/// A member that the document does not name may hold anything, but the reader limits its nesting.
fn other(value: &(impl Serialize + ?Sized)) -> Outcome {
    const DEEPEST: usize = 64;
    let text = serde_json::to_vec(value).map_err(|_| Unfit)?;
    sure(text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() <= DEEPEST)
}

impl SerializeStruct for Members {
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
impl SerializeMap for Members {
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
struct Name<'a>(&'a mut Members);

impl Serializer for Name<'_> {
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
    fn a_builder_that_fits_is_known_without_the_reader() {
        let scripts = TextToImageScripts::builder().sd_model_checkpoint("m").id_task("1");
        let request = TextToImageRequest::builder().batch_size(1).prompt("p").cfg_scale(7.0);
        let fits = |request| fits(TextToImageRequest::schema(), &request);
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
}
