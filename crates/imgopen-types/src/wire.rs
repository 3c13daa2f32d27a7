//! Reading and checking: from JSON to a type of the contract, with every fault reported.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::admit::{Admitted, Record, admit};
use crate::encoding::{NotUtf8, utf8};
use crate::node::Node;
use crate::numbers::whole;
use crate::schema::{Object, Shape};
use crate::violation::{Rule, Violations};
use crate::writer::write;

/// A type of the contract: an object with a schema.
///
/// Its `Deserialize` reads as the document says, with the other spellings and types that the document accepts, and
/// enforces every bound; so does [`read`], which returns all faults as values. Its `Serialize` writes canonically: the
/// declared names in the declared order, and nothing that was not set.
pub trait Wire: Serialize + DeserializeOwned + build::Build {
    /// What the document says of the type.
    fn schema() -> &'static Object;
}

/// Why a text could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not UTF-8.
    #[error(transparent)]
    Encoding(#[from] NotUtf8),
    /// It is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is JSON, but not what the document describes.
    #[error(transparent)]
    Violations(#[from] Violations),
}

/// Reads a type of the contract from JSON text, which may begin with a byte order mark.
///
/// # Errors
///
/// [`ReadError::Encoding`] if the text is not UTF-8, [`ReadError::Syntax`] if it is not JSON, otherwise
/// [`ReadError::Violations`] with every fault.
///
/// ```
/// use imgopen_types::{QueryTaskRequest, ReadError, read};
///
/// let request: QueryTaskRequest = read(br#"{"businessTaskId": "test10086555513"}"#)?;
/// assert_eq!(request.business_task_id, "test10086555513");
///
/// let error = read::<QueryTaskRequest>(br#"{"businessTaskId": 7}"#).unwrap_err();
/// assert!(error.to_string().starts_with("`businessTaskId`: 7 given"));
/// # Ok::<(), ReadError>(())
/// ```
pub fn read<T: Wire>(json: &[u8]) -> Result<T, ReadError> {
    let node: Node<'_> = serde_json::from_str(utf8(json)?)?;
    Ok(read_node(node)?)
}

/// Checks a value that was put together by hand against the bounds of the document.
///
/// # Errors
///
/// Lists every fault.
pub fn check<T: Wire>(value: &T) -> Result<(), Violations> {
    reread::<T>(value).map(drop)
}

/// Reads a value whose schema is known only while the program runs, and gives it in canonical form: the declared names, in
/// the declared order, of the declared types. For programs that go by the tables of the contract, such as a command line.
///
/// # Errors
///
/// As [`read`].
///
/// ```
/// use imgopen_types::{operations, read_value};
///
/// let request = read_value(operations::SUBMIT_TRAINING.request, br#"{"max_epochs": 51, "taskId": "1"}"#);
/// let faults = "`fileUrlList`: missing; give a list of 10 to 100 items; `maxEpochs`: 51 given, a whole number from 10 to 50 expected";
/// assert_eq!(request.unwrap_err().to_string(), faults);
/// ```
pub fn read_value(schema: &'static Object, json: &[u8]) -> Result<Value, ReadError> {
    let node: Node<'_> = serde_json::from_str(utf8(json)?)?;
    Ok(admit(schema, node)?.into_json(&Shape::Object(schema)))
}

/// Makes the type from anything that writes its fields, such as its builder.
pub(crate) fn reread<T: Wire>(value: &impl Serialize) -> Result<T, Violations> {
    let unwritable = |error: serde_json::Error| fault(format!("it cannot be written: {error}"));
    let json = serde_json::to_vec(value).map_err(unwritable)?;
    let node = serde_json::from_slice(&json).map_err(unwritable)?;
    read_node(node)
}

/// The text of what a builder holds, in canonical form, if it fits. Mostly the writer makes it at once; the reader makes it of all
/// else, and finds the faults.
pub(crate) fn text<T: Wire>(builder: &impl Serialize) -> Result<Vec<u8>, Violations> {
    if let Some(text) = write(T::schema(), builder) {
        return Ok(text);
    }
    serde_json::to_vec(&reread::<T>(builder)?).map_err(|error| fault(format!("it cannot be written: {error}")))
}

/// The body of every generated `Deserialize`.
pub(crate) fn deserialize<'de, T: Wire, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read_node(Node::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn read_node<T: Wire>(node: Node<'_>) -> Result<T, Violations> {
    let admitted = admit(T::schema(), node)?;
    T::build(Some(admitted)).ok_or_else(|| fault(format!("{} and its schema disagree", T::schema().name)))
}

fn fault(message: String) -> Violations {
    Violations::of("", Rule::Type, message)
}

/// Writes a number as the published examples do: without a fraction where it has none.
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match whole(*value) {
        Some(whole) => serializer.serialize_i64(whole),
        None => serializer.serialize_f64(*value),
    }
}

/// The same for a field that may be left out.
pub(crate) fn optional_number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// The same for a field that may be `null`.
pub(crate) fn nullable_number<S: Serializer>(value: &Option<Option<f64>>, serializer: S) -> Result<S::Ok, S::Error> {
    optional_number(&value.flatten(), serializer)
}

/// From admitted values to Rust types. Sealed: only this crate's types are built.
pub(crate) mod build {
    use super::*;

    /// Takes the value of a field's slot. `None` means that the type does not fit the schema, which generated types do.
    pub trait Build: Sized {
        /// Whether `null` is a value of the type.
        const NULLABLE: bool = false;

        #[doc(hidden)]
        fn build(slot: Option<Admitted<'_>>) -> Option<Self>;
    }

    impl<T: Build> Build for Option<T> {
        const NULLABLE: bool = true;

        fn build(slot: Option<Admitted<'_>>) -> Option<Self> {
            match slot {
                None => Some(None),
                Some(Admitted::Null) if !T::NULLABLE => Some(None),
                some => T::build(some).map(Some),
            }
        }
    }

    impl<T: Build> Build for Vec<T> {
        fn build(slot: Option<Admitted<'_>>) -> Option<Self> {
            let Some(Admitted::List(items)) = slot else { return None };
            items.into_iter().map(|item| T::build(Some(item))).collect()
        }
    }

    macro_rules! build_from {
        ($type:ty, $variant:ident, $value:ident => $result:expr) => {
            impl Build for $type {
                fn build(slot: Option<Admitted<'_>>) -> Option<Self> {
                    match slot {
                        Some(Admitted::$variant($value)) => Some($result),
                        _ => None,
                    }
                }
            }
        };
    }

    build_from!(bool, Boolean, value => value);
    build_from!(i64, Integer, value => value);
    build_from!(f64, Number, value => value);
    build_from!(String, Text, value => value.into_owned());
}

/// The fields of an admitted object, handed out in the declared order.
pub(crate) struct Slots<'de> {
    slots: std::vec::IntoIter<Option<Admitted<'de>>>,
    extra: Vec<(Cow<'de, str>, Node<'de>)>,
}

impl<'de> Slots<'de> {
    pub(crate) fn of(slot: Option<Admitted<'de>>) -> Option<Self> {
        match slot {
            Some(Admitted::Record(Record { slots, extra })) => Some(Self { slots: slots.into_iter(), extra }),
            _ => None,
        }
    }

    /// The next field.
    pub(crate) fn take<T: build::Build>(&mut self) -> Option<T> {
        T::build(self.slots.next()?)
    }

    /// The members that the document does not name.
    pub(crate) fn extra(self) -> serde_json::Map<String, serde_json::Value> {
        self.extra.into_iter().map(|(name, value)| (name.into_owned(), value.into_json())).collect()
    }
}

/// Everything that goes with a generated object: its schema, and how it is read.
macro_rules! object {
    ($name:ident: $schema:ident { $($field:ident),* $(; $extra:ident)? }) => {
        impl $crate::Wire for $name {
            fn schema() -> &'static $crate::schema::Object {
                &$schema
            }
        }

        impl $crate::wire::build::Build for $name {
            #[allow(unused_mut, unused_variables)]
            fn build(slot: ::std::option::Option<$crate::admit::Admitted<'_>>) -> ::std::option::Option<Self> {
                let mut slots = $crate::wire::Slots::of(slot)?;
                Some(Self { $($field: slots.take()?,)* $($extra: slots.extra(),)? })
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                $crate::wire::deserialize(deserializer)
            }
        }

        #[cfg(feature = "schemars")]
        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                $crate::json_schema::object(&$schema)
            }
        }
    };
}

pub(crate) use object;
