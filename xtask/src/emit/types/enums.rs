//! Emits enums: closed and open sets of texts, open sets of numbers.

use anyhow::{Context, Result};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::{one_line, provenance_path, text_literal};
use crate::emit::{docs, provenance_note};
use crate::model::{Enum, EnumValue, Schema};
use crate::names::{same_name, static_name, type_name, variant_name};

/// An enum over texts.
pub fn emit_text(schema: &Schema, set: &Enum<String>) -> TokenStream {
    let name = type_name(&schema.name);
    let table = static_name(&schema.name);
    let makro = if set.open { quote!(open_text) } else { quote!(closed_text) };
    let open = set.open;
    let (schema_name, about) = (&schema.name, text_literal(&schema.description));
    let docs = docs(&schema.description);
    let variants = set.values.iter().map(|value| {
        let text = &value.value;
        let variant = text_variant(value);
        let docs = value_docs(value, &format!("`{text}`"));
        quote!(#docs #variant = #text,)
    });
    let choices = set.values.iter().map(|value| choice(value, |text| quote!(#text)));
    quote! {
        #makro! { #docs #name: #table { #(#variants)* } }

        static #table: TextEnum =
            TextEnum { name: #schema_name, about: #about, values: &[#(#choices),*], open: #open };
    }
}

/// An enum over numbers.
pub fn emit_integer(schema: &Schema, set: &Enum<i64>) -> Result<TokenStream> {
    let name = type_name(&schema.name);
    let table = static_name(&schema.name);
    let (schema_name, about) = (&schema.name, text_literal(&schema.description));
    let docs = docs(&schema.description);
    let mut variants = Vec::new();
    let mut states = Vec::new();
    for value in &set.values {
        let variant = integer_variant(schema, value)?;
        let number = Literal::i64_unsuffixed(value.value);
        let docs = value_docs(value, &format!("`{}`", value.value));
        variants.push(quote!(#docs #variant = #number,));
        states.extend(value.state.map(|state| {
            let state = same_name(state);
            quote!(Self::#variant => crate::JobState::#state,)
        }));
    }
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
        open_integer! { #docs #name: #table { #(#variants)* } }

        static #table: IntegerEnum = IntegerEnum { name: #schema_name, about: #about, values: &[#(#choices),*] };

        #state_method
    })
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
    match &value.description {
        Some(description) => docs(&format!("{wire}{note}: {}", one_line(description))),
        None => docs(&format!("{wire}{note}.")),
    }
}

fn choice<T>(value: &EnumValue<T>, literal: impl Fn(&T) -> TokenStream) -> TokenStream {
    let wire = literal(&value.value);
    let about = text_literal(value.description.as_deref().unwrap_or_default());
    let provenance = provenance_path(value.provenance);
    quote!(Choice { value: #wire, about: #about, provenance: #provenance })
}
