//! Enums of the wire: closed sets of texts, open sets of texts, and numbers with known meanings.
//!
//! The generated code defines the enums and calls these macros, each of which makes everything that goes with one.

/// What is wrong with a text that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {name}; give one of {known}")]
pub struct UnknownChoice {
    name: &'static str,
    text: String,
    known: String,
}

impl UnknownChoice {
    pub(crate) fn new(set: &'static crate::schema::TextEnum, text: &str) -> Self {
        let known: Vec<_> = set.values.iter().map(|choice| choice.value).collect();
        let text = text.chars().take(60).collect();
        Self { name: set.name, text, known: known.join(", ") }
    }
}

/// A text out of a closed set.
macro_rules! closed_text {
    ($name:ident: $schema:ident { $($variant:ident = $text:literal),+ }) => {
        impl $name {
            /// Every value, in the document's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text on the wire.
            pub const fn as_str(&self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::UnknownChoice;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::UnknownChoice::new(&$schema, other)),
                }
            }
        }

        impl ::std::convert::TryFrom<&str> for $name {
            type Error = $crate::UnknownChoice;

            fn try_from(text: &str) -> ::std::result::Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl ::std::convert::TryFrom<::std::string::String> for $name {
            type Error = $crate::UnknownChoice;

            fn try_from(text: ::std::string::String) -> ::std::result::Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }

        $crate::choice::text_common!($name, $schema);
    };
}

/// A text with known values that may be another one as well.
macro_rules! open_text {
    ($name:ident: $schema:ident { $($variant:ident = $text:literal),+ }) => {
        impl $name {
            /// Every listed value, in the document's order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl ::std::convert::From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl ::std::convert::From<::std::string::String> for $name {
            fn from(text: ::std::string::String) -> Self {
                Self::from(text.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = ::std::convert::Infallible;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                Ok(Self::from(text))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Ok(Self::from(text.as_ref()))
            }
        }

        $crate::choice::text_common!($name, $schema);
    };
}

/// What both kinds of texts have.
macro_rules! text_common {
    ($name:ident, $schema:ident) => {
        impl $name {
            /// What the document says of the set.
            pub fn schema() -> &'static $crate::schema::TextEnum {
                &$schema
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::convert::From<$name> for ::std::string::String {
            fn from(value: $name) -> Self {
                value.as_str().to_owned()
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::wire::build::Build for $name {
            fn build(slot: ::std::option::Option<$crate::admit::Admitted<'_>>) -> ::std::option::Option<Self> {
                match slot {
                    Some($crate::admit::Admitted::Text(text)) => Self::try_from(text.as_ref()).ok(),
                    _ => None,
                }
            }
        }

        #[cfg(feature = "schemars")]
        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                $crate::json_schema::text_enum(&$schema)
            }
        }
    };
}

/// A number with known meanings that may be another one as well.
macro_rules! open_integer {
    ($name:ident: $schema:ident { $($variant:ident = $value:literal),+ }) => {
        impl $name {
            /// Every listed value, in the document's order.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            pub const fn value(&self) -> i64 {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Other(value) => *value,
                }
            }

            /// What the document says of the numbers.
            pub fn schema() -> &'static $crate::schema::IntegerEnum {
                &$schema
            }
        }

        impl ::std::convert::From<i64> for $name {
            fn from(value: i64) -> Self {
                match value {
                    $($value => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl ::std::convert::From<$name> for i64 {
            fn from(value: $name) -> Self {
                value.value()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}", self.value())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_i64(self.value())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                i64::deserialize(deserializer).map(Self::from)
            }
        }

        impl $crate::wire::build::Build for $name {
            fn build(slot: ::std::option::Option<$crate::admit::Admitted<'_>>) -> ::std::option::Option<Self> {
                i64::build(slot).map(Self::from)
            }
        }

        #[cfg(feature = "schemars")]
        impl ::schemars::JsonSchema for $name {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                $crate::json_schema::integer_enum(&$schema)
            }
        }
    };
}

pub(crate) use {closed_text, open_integer, open_text, text_common};
