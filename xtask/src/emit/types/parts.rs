//! Pieces of generated code that all of it is made of.

use anyhow::Result;
use proc_macro2::TokenStream;
use quote::quote;

use crate::emit::unwrap;
use crate::model::{Api, Provenance, Shape};
use crate::names::type_name;

/// The Rust type of a value of that shape.
pub fn rust_type(api: &Api, shape: &Shape) -> Result<TokenStream> {
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

/// The path of a provenance in generated code.
pub fn provenance_path(provenance: Provenance) -> TokenStream {
    match provenance {
        Provenance::Published => quote!(Provenance::Published),
        Provenance::Partial => quote!(Provenance::Partial),
        Provenance::Observed => quote!(Provenance::Observed),
        Provenance::Inferred => quote!(Provenance::Inferred),
    }
}

/// Where a fact comes from, as an optional literal.
pub fn optional_literal(text: Option<&str>) -> TokenStream {
    option(text.map(text_literal))
}

/// `Some(…)` or `None` in generated code.
pub fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}

/// A description as one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A description as a literal, with one line for each paragraph and list item.
///
/// It is made of pieces that fit the width of a line: rustfmt does not format code with longer ones.
pub fn text_literal(text: &str) -> TokenStream {
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
