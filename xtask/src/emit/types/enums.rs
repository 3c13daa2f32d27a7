//! Emits enums: closed and open sets of texts, open sets of numbers.

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::parts::{one_line, optional_literal, provenance_path, text_literal};
use crate::emit::{docs, provenance_note, source_docs};
use crate::model::{Api, Enum, EnumValue, Provenance, Schema, SchemaKind};
use crate::names::{same_name, static_name, type_name, variant_name};

/// An enum over texts.
pub fn emit_text(schema: &Schema, set: &Enum<String>) -> TokenStream {
    let (name, table) = (type_name(&schema.name), static_name(&schema.name));
    let variants: Vec<_> = set.values.iter().map(text_variant).collect();
    let values = set.values.iter().map(|value| &value.value);
    let makro = if set.open { quote!(open_text) } else { quote!(closed_text) };
    let open = set.open;
    let (schema_name, about) = (&schema.name, text_literal(&schema.description));
    let source = optional_literal(schema.source.as_deref());
    let definition = definition(schema, set, &variants, |text| format!("`{text}`"), set.open.then(|| quote!(String)));
    let choices = set.values.iter().map(|value| choice(value, |text| quote!(#text)));
    quote! {
        #definition

        #makro!(#name: #table { #(#variants = #values),* });

        static #table: TextEnum =
            TextEnum { name: #schema_name, about: #about, source: #source, values: &[#(#choices),*], open: #open };
    }
}

/// An enum over numbers.
pub fn emit_integer(schema: &Schema, set: &Enum<i64>) -> Result<TokenStream> {
    let (name, table) = (type_name(&schema.name), static_name(&schema.name));
    let variants = set.values.iter().map(|value| integer_variant(schema, value)).collect::<Result<Vec<_>>>()?;
    let values = set.values.iter().map(|value| Literal::i64_unsuffixed(value.value));
    let (schema_name, about) = (&schema.name, text_literal(&schema.description));
    let source = optional_literal(schema.source.as_deref());
    let definition = definition(schema, set, &variants, |number| format!("`{number}`"), Some(quote!(i64)));
    let states = set.values.iter().zip(&variants).filter_map(|(value, variant)| {
        let state = same_name(value.state?);
        Some(quote!(Self::#variant => crate::JobState::#state,))
    });
    let states: Vec<_> = states.collect();
    let state_method = (!states.is_empty()).then(|| {
        quote! {
            impl #name {
                /// What the number says of a job.
                pub fn state(self) -> crate::JobState {
                    match self {
                        #(#states)*
                        Self::Other(value) => crate::JobState::Unknown(value),
                    }
                }
            }
        }
    });
    let choices = set.values.iter().map(|value| {
        choice(value, |number| {
            let number = Literal::i64_unsuffixed(*number);
            quote!(#number)
        })
    });
    Ok(quote! {
        #definition

        open_integer!(#name: #table { #(#variants = #values),* });

        static #table: IntegerEnum = IntegerEnum { name: #schema_name, about: #about, source: #source, values: &[#(#choices),*] };

        #state_method
    })
}

/// The enum itself. An open one has a variant that holds any other value.
fn definition<T>(
    schema: &Schema,
    set: &Enum<T>,
    variants: &[Ident],
    wire: impl Fn(&T) -> String,
    other: Option<TokenStream>,
) -> TokenStream {
    let name = type_name(&schema.name);
    let open = match &other {
        Some(_) => "\n\nThe set is open: a value that is not listed here is kept as `Other`.",
        None => "",
    };
    let source = source_docs(Provenance::Published, schema.source.as_deref());
    let enum_docs = docs(&format!("{}{open}{source}", schema.description));
    let docs = set.values.iter().map(|value| value_docs(value, &wire(&value.value)));
    let copy = other.as_ref().is_none_or(|held| held.to_string() == "i64").then(|| quote!(Copy,));
    let non_exhaustive = other.as_ref().map(|_| quote!(#[non_exhaustive]));
    let other = other.map(|held| quote!(#[doc = " A value that the document does not list."] Other(#held),));
    quote! {
        #enum_docs
        #[derive(Debug, Clone, #copy PartialEq, Eq, Hash, PartialOrd, Ord)]
        #non_exhaustive
        pub enum #name { #(#docs #variants,)* #other }
    }
}

/// The variant of a text enum for one of its values.
pub fn enum_variant(api: &Api, schema: &str, value: &str) -> Result<Ident> {
    let SchemaKind::TextEnum(set) = &api.schema(schema)?.kind else { bail!("`{schema}` is not a set of texts") };
    let known = set.values.iter().find(|known| known.value == value);
    Ok(text_variant(known.with_context(|| format!("`{value}` is not one of `{schema}`"))?))
}

/// The variant for a text.
pub fn text_variant(value: &EnumValue<String>) -> Ident {
    match &value.name {
        Some(name) => type_name(name),
        None => variant_name(&value.value),
    }
}

fn integer_variant(schema: &Schema, value: &EnumValue<i64>) -> Result<Ident> {
    let name = value.name.as_ref();
    let name = name.with_context(|| format!("schema `{}`: the value {} needs a `name`", schema.name, value.value))?;
    Ok(type_name(name))
}

fn value_docs<T>(value: &EnumValue<T>, wire: &str) -> TokenStream {
    let note = provenance_note(value.provenance).map(|note| format!(" ({note})")).unwrap_or_default();
    let source = value.source.as_ref().map(|source| format!("\n\nSource: {source}")).unwrap_or_default();
    match &value.description {
        Some(description) => docs(&format!("{wire}{note}: {}{source}", one_line(description))),
        None => docs(&format!("{wire}{note}.{source}")),
    }
}

fn choice<T>(value: &EnumValue<T>, literal: impl Fn(&T) -> TokenStream) -> TokenStream {
    let wire = literal(&value.value);
    let about = text_literal(value.description.as_deref().unwrap_or_default());
    let provenance = provenance_path(value.provenance);
    let source = optional_literal(value.source.as_deref());
    quote!(Choice { value: #wire, about: #about, provenance: #provenance, source: #source })
}
