//! Emits builders: one setter a field, taking plain values.
//!
//! A builder holds what was set, writes it as JSON and lets the ordinary reader judge it. So a caller's mistakes are
//! found by the rules that the server applies, and all of them are reported, missing fields included.

use anyhow::Result;
use proc_macro2::TokenStream;
use quote::quote;

use super::parts::rust_type;
use crate::model::{Api, JsonType, Object, Property, Schema, SchemaKind, Shape, Unknown};
use crate::names::{field_name, type_name};

/// The builder of one object.
pub fn emit(api: &Api, schema: &Schema, object: &Object) -> Result<TokenStream> {
    let name = type_name(&schema.name);
    let fields = object.properties.iter().map(|property| field(api, property)).collect::<Result<Vec<_>>>()?;
    let setters = object.properties.iter().map(|property| setter(api, property)).collect::<Result<Vec<_>>>()?;
    let copies = object.properties.iter().map(|property| copy(api, property)).collect::<Result<Vec<_>>>()?;
    let kept = object.unknown == Unknown::Kept;
    let extra_field = kept.then(|| quote!(#[serde(flatten)] extra: serde_json::Map<String, serde_json::Value>,));
    let extra_copy = kept.then(|| quote!(extra: value.extra,));
    let extra_setter = kept.then(|| {
        quote! {
            /// Sets a member that the document does not name.
            pub fn extra(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
                self.extra.insert(name.into(), value.into());
                self
            }
        }
    });
    let value = if object.properties.is_empty() && !kept { quote!(_) } else { quote!(value) };
    let about = format!(" Puts together a [`{0}`](super::{0}).", schema.name);
    Ok(quote! {
        #[doc = #about]
        #[derive(Debug, Clone, Default, serde::Serialize)]
        pub struct #name { #(#fields)* #extra_field }

        impl #name {
            #(#setters)*
            #extra_setter

            /// The finished value.
            ///
            /// # Errors
            ///
            /// Lists every field that is missing or breaks a rule.
            pub fn build(&self) -> Result<super::#name, Violations> {
                reread(self)
            }

            /// The finished value as JSON text in canonical form.
            ///
            /// # Errors
            ///
            /// The same.
            pub fn to_json(&self) -> Result<Vec<u8>, Violations> {
                text::<super::#name>(self)
            }
        }

        impl From<super::#name> for #name {
            fn from(#value: super::#name) -> Self {
                Self { #(#copies)* #extra_copy }
            }
        }

        impl TryFrom<#name> for super::#name {
            type Error = Violations;

            fn try_from(value: #name) -> Result<Self, Violations> {
                value.build()
            }
        }
    })
}

fn field(api: &Api, property: &Property) -> Result<TokenStream> {
    let (name, wire) = (field_name(&property.name), &property.name);
    let held = held_type(api, &property.shape)?;
    let held = if property.nullable { quote!(Option<#held>) } else { held };
    let writer = if property.nullable { "crate::wire::nullable_number" } else { "crate::wire::optional_number" };
    let write = matches!(property.shape, Shape::Number { .. }).then(|| quote!(, serialize_with = #writer));
    Ok(quote!(#[serde(rename = #wire, skip_serializing_if = "Option::is_none" #write)] #name: Option<#held>,))
}

fn setter(api: &Api, property: &Property) -> Result<TokenStream> {
    let name = field_name(&property.name);
    let wire = &property.name;
    if property.nullable {
        let about = format!(" Sets `{wire}`, or says that it is `null`.");
        let plain = super_type(api, &property.shape)?;
        let value = match conversion(api, &property.shape)? {
            Some(convert) => mapped(quote!(value), convert, false),
            None => quote!(value),
        };
        return Ok(quote! {
            #[doc = #about]
            pub fn #name(mut self, value: Option<#plain>) -> Self {
                self.#name = Some(#value);
                self
            }
        });
    }
    let (argument, value) = argument(api, property)?;
    let about = format!(" Sets `{wire}`.");
    Ok(quote! {
        #[doc = #about]
        pub fn #name(mut self, value: #argument) -> Self {
            self.#name = Some(#value);
            self
        }
    })
}

/// A setter's argument type, and how the value is kept.
fn argument(api: &Api, property: &Property) -> Result<(TokenStream, TokenStream)> {
    let takes_numbers =
        |accepts: &[JsonType]| accepts.contains(&JsonType::Integer) || accepts.contains(&JsonType::Number);
    let held = held_type(api, &property.shape)?;
    Ok(match &property.shape {
        Shape::Boolean | Shape::Integer { .. } => (held, quote!(value)),
        Shape::Text { .. } if takes_numbers(&property.accepts) => (quote!(impl ToString), quote!(value.to_string())),
        Shape::Number { .. } | Shape::Text { .. } | Shape::Named(_) => (quote!(impl Into<#held>), quote!(value.into())),
        Shape::List { item, .. } => {
            let item = held_type(api, item)?;
            (quote!(impl IntoIterator<Item = impl Into<#item>>), quote!(value.into_iter().map(Into::into).collect()))
        }
    })
}

/// The type in which a builder holds a value: objects as builders and closed sets as text, so that a fault inside them
/// is reported with all others.
fn held_type(api: &Api, shape: &Shape) -> Result<TokenStream> {
    let Shape::Named(name) = shape else {
        if let Shape::List { item, .. } = shape {
            let item = held_type(api, item)?;
            return Ok(quote!(Vec<#item>));
        }
        return rust_type(api, shape);
    };
    let ident = type_name(name);
    Ok(match &api.schema(name)?.kind {
        SchemaKind::Object(_) => quote!(#ident),
        SchemaKind::TextEnum(set) if !set.open => quote!(String),
        _ => quote!(super::#ident),
    })
}

/// The finished type, seen from the builders' module.
fn super_type(api: &Api, shape: &Shape) -> Result<TokenStream> {
    match shape {
        Shape::Named(name) => {
            let name = type_name(name);
            Ok(quote!(super::#name))
        }
        other => rust_type(api, other),
    }
}

/// Writes the code that turns a value into another.
type Conversion = fn(TokenStream) -> TokenStream;

/// Turns a finished value into the held one; `None` where they are the same.
fn conversion(api: &Api, shape: &Shape) -> Result<Option<Conversion>> {
    Ok(match shape {
        Shape::List { item, .. } if conversion(api, item)?.is_some() => {
            Some(|items| quote!(#items.into_iter().map(Into::into).collect()))
        }
        Shape::Named(name) => match &api.schema(name)?.kind {
            SchemaKind::TextEnum(set) if set.open => None,
            SchemaKind::IntegerEnum(_) => None,
            SchemaKind::Object(_) | SchemaKind::TextEnum(_) => Some(|value| quote!(#value.into())),
        },
        _ => None,
    })
}

/// Takes one field over from the finished value.
fn copy(api: &Api, property: &Property) -> Result<TokenStream> {
    let name = field_name(&property.name);
    let value = quote!(value.#name);
    let held = match conversion(api, &property.shape)? {
        None if property.required => quote!(Some(#value)),
        None => value,
        Some(convert) if property.required && !property.nullable => {
            let converted = convert(value);
            quote!(Some(#converted))
        }
        Some(convert) => {
            let optional = if property.required { quote!(Some(#value)) } else { value };
            mapped(optional, convert, property.nullable)
        }
    };
    Ok(quote!(#name: #held,))
}

/// Applies the conversion inside an option, or inside an option of an option.
fn mapped(optional: TokenStream, convert: Conversion, nullable: bool) -> TokenStream {
    let plain = convert(quote!(value)).to_string() == quote!(value.into()).to_string();
    let function = if plain {
        quote!(Into::into)
    } else {
        let converted = convert(quote!(value));
        quote!(|value| #converted)
    };
    match nullable {
        true => quote!(#optional.map(|value| value.map(#function))),
        false => quote!(#optional.map(#function)),
    }
}
