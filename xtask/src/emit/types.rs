//! Emits the types crate: a struct and a builder for each object, an enum for each set of values, and the contract as data.

mod builders;
mod enums;
mod objects;
mod operations;

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::emit::unwrap;
use crate::model::{Api, Provenance, SchemaKind, Shape};
use crate::names::type_name;

/// The whole generated file.
pub fn emit(api: &Api) -> Result<TokenStream> {
    let mut items = Vec::new();
    let mut builders = Vec::new();
    for schema in &api.schemas {
        match &schema.kind {
            SchemaKind::Object(object) => {
                items.push(objects::emit(api, schema, object)?);
                builders.push(builders::emit(api, schema, object)?);
            }
            SchemaKind::TextEnum(set) => items.push(enums::emit_text(schema, set)),
            SchemaKind::IntegerEnum(set) => items.push(enums::emit_integer(schema, set)?),
        }
    }
    let patterns = objects::patterns(api);
    let operations = operations::emit(api)?;
    let key_headers = operations::key_headers(api)?;
    Ok(quote! {
        use crate::choice::{closed_text, open_integer, open_text};
        use crate::schema::{
            Choice, Field, Integer, IntegerEnum, JsonType, List, Number, Numeric, Object, Pattern, Provenance, Shape, Text,
            TextEnum, Unknown,
        };
        use crate::wire::object;

        #key_headers
        #patterns
        #(#items)*
        #operations

        /// Builders: put a value together field by field; every fault is told at the end, all at once.
        pub mod builder {
            use crate::Violations;
            use crate::wire::{reread, text};

            #(#builders)*
        }
    })
}

/// The variant of a text enum for one of its values.
pub fn enum_variant(api: &Api, schema: &str, value: &str) -> Result<Ident> {
    let SchemaKind::TextEnum(set) = &api.schema(schema)?.kind else { bail!("`{schema}` is not a set of texts") };
    let known = set.values.iter().find(|known| known.value == value);
    Ok(enums::text_variant(known.with_context(|| format!("`{value}` is not one of `{schema}`"))?))
}

/// The Rust type of a value of that shape.
fn rust_type(api: &Api, shape: &Shape) -> Result<TokenStream> {
    Ok(match shape {
        Shape::Boolean => quote!(bool),
        Shape::Integer { .. } => quote!(i64),
        Shape::Number { .. } => quote!(f64),
        Shape::Text { .. } => quote!(String),
        Shape::List { item, .. } => {
            let item = rust_type(api, item)?;
            quote!(Vec<#item>)
        }
        Shape::Named(name) => {
            let name = type_name(&api.schema(name)?.name);
            quote!(#name)
        }
    })
}

fn provenance_path(provenance: Provenance) -> TokenStream {
    match provenance {
        Provenance::Published => quote!(Provenance::Published),
        Provenance::Partial => quote!(Provenance::Partial),
        Provenance::Observed => quote!(Provenance::Observed),
        Provenance::Inferred => quote!(Provenance::Inferred),
    }
}

/// Where a fact comes from, as an optional literal.
fn optional_literal(text: Option<&str>) -> TokenStream {
    option(text.map(text_literal))
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}

/// A description with its lines joined, for one-line places.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A description as a literal, with one line for each paragraph and list item.
///
/// It is made of pieces that fit the width of a line: rustfmt does not format code with longer ones.
fn text_literal(text: &str) -> TokenStream {
    const WIDTH: usize = 90;
    let mut pieces = vec![String::new()];
    for word in unwrap(text).split_inclusive([' ', '\n']) {
        match pieces.last_mut() {
            Some(piece) if piece.chars().count() + word.chars().count() <= WIDTH => piece.push_str(word),
            _ => pieces.push(word.to_owned()),
        }
    }
    match pieces.as_slice() {
        [one] => quote!(#one),
        several => quote!(concat!(#(#several),*)),
    }
}
