//! Emits the types crate: a struct and a builder for each object, an enum for each set of values, and the contract as data.

mod builders;
pub mod enums;
mod objects;
mod operations;
mod parts;

use anyhow::Result;
use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Api, SchemaKind};

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

        /// Builders: put a value together field by field; all faults are reported at the end.
        pub mod builder {
            use crate::Violations;
            use crate::wire::{reread, text};

            #(#builders)*
        }
    })
}
