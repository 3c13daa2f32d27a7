//! Emits objects: the struct, its schema as data, and what goes with both.

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, format_ident, quote};
use serde_json::{Number, Value};

use super::enums::enum_variant;
use super::parts::{optional_literal, provenance_path, rust_type, text_literal};
use crate::emit::{docs, provenance_note, source_docs};
use crate::model::{Api, JsonType, Numeric, Object, Property, Role, Schema, SchemaKind, Shape, Unknown};
use crate::names::{field_name, same_name, static_name, type_name};

/// The struct and everything about it but its builder.
pub fn emit(api: &Api, schema: &Schema, object: &Object) -> Result<TokenStream> {
    let structure = structure(api, schema, object)?;
    let table = table(api, schema, object)?;
    let methods = methods(api, schema, object)?;
    let (name, table_name) = (type_name(&schema.name), static_name(&schema.name));
    let fields = object.properties.iter().map(|property| field_name(&property.name));
    let extra = (object.unknown == Unknown::Kept).then(|| quote!(; extra));
    let report = report(api, schema, object)?;
    Ok(quote! {
        #structure
        #methods
        object!(#name: #table_name { #(#fields),* #extra });
        #report
        #table
    })
}

fn structure(api: &Api, schema: &Schema, object: &Object) -> Result<TokenStream> {
    let name = type_name(&schema.name);
    let docs = docs(&format!("{}{}", schema.description, source_docs(schema.provenance, schema.source.as_deref())));
    let default = object.properties.iter().all(|property| !property.required).then(|| quote!(Default,));
    let fields = object.properties.iter().map(|property| field(api, property)).collect::<Result<Vec<_>>>()?;
    let extra = (object.unknown == Unknown::Kept).then(|| {
        quote! {
            /// Members that the document does not name, as they came.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }
    });
    Ok(quote! {
        #docs
        #[derive(Debug, Clone, PartialEq, #default serde::Serialize)]
        pub struct #name { #(#fields)* #extra }
    })
}

fn field(api: &Api, property: &Property) -> Result<TokenStream> {
    let (name, wire) = (field_name(&property.name), &property.name);
    let docs = field_docs(api, property)?;
    let inner = rust_type(api, &property.shape)?;
    let nullable = if property.nullable { quote!(Option<#inner>) } else { inner };
    let writer = match (property.required, property.nullable) {
        (true, false) => "crate::wire::number",
        (true, true) | (false, false) => "crate::wire::optional_number",
        (false, true) => "crate::wire::nullable_number",
    };
    let write = matches!(property.shape, Shape::Number { .. }).then(|| quote!(, serialize_with = #writer));
    if property.required {
        return Ok(quote!(#docs #[serde(rename = #wire #write)] pub #name: #nullable,));
    }
    Ok(quote! {
        #docs
        #[serde(rename = #wire, skip_serializing_if = "Option::is_none" #write)]
        pub #name: Option<#nullable>,
    })
}

/// The description, then what a caller must know at a glance: name on the wire, bounds, default, leniency, provenance.
fn field_docs(api: &Api, property: &Property) -> Result<TokenStream> {
    let description = match (&property.shape, property.description.as_str()) {
        (Shape::Named(name), "") => &api.schema(name)?.description,
        (_, description) => description,
    };
    let mut facts = vec![format!("`{}` on the wire", property.name)];
    facts.push(if property.required { "required".to_owned() } else { "optional".to_owned() });
    if property.nullable && !property.required {
        facts.push("`None` is left out, `Some(None)` is `null`".to_owned());
    }
    facts.extend(bounds(&property.shape));
    facts.extend(property.default.as_ref().map(|value| format!("default `{value}`")));
    if !property.aliases.is_empty() {
        let names: Vec<_> = property.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        facts.push(format!("also read as {}", names.join(", ")));
    }
    let others: Vec<_> = property.accepts.iter().map(|other| json_word(*other)).collect();
    if !others.is_empty() {
        facts.push(format!("also read from {}", others.join(", ")));
    }
    facts.extend(provenance_note(property.provenance).map(str::to_owned));
    let source = property.source.as_ref().map(|source| format!("\n\nSource: {source}")).unwrap_or_default();
    Ok(docs(&format!("{description}\n\n({}){source}", facts.join("; "))))
}

fn bounds(shape: &Shape) -> Option<String> {
    match shape {
        Shape::Integer { one_of, .. } if !one_of.is_empty() => {
            Some(format!("one of {}", one_of.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")))
        }
        Shape::Integer { minimum, maximum, .. } => range("", minimum.as_ref(), maximum.as_ref(), ""),
        Shape::Number { minimum, maximum, above_minimum: true } => {
            range("above ", minimum.as_ref(), maximum.as_ref(), "")
        }
        Shape::Number { minimum, maximum, .. } => range("", minimum.as_ref(), maximum.as_ref(), ""),
        Shape::Text { numeric: Some(numeric), .. } => {
            let kind = if numeric.integer { "a whole number as text" } else { "a number as text" };
            // As decimals, which JSON numbers of this size are not shown as.
            let decimal = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
            let (minimum, maximum) = (decimal(&numeric.minimum), decimal(&numeric.maximum));
            let bounds = range(&format!("{kind}, "), minimum.as_ref(), maximum.as_ref(), "");
            Some(bounds.unwrap_or(kind.to_owned()))
        }
        Shape::Text { min_length: Some(1), max_length: None, .. } => Some("not empty".to_owned()),
        Shape::Text { min_length, max_length, .. } => {
            range("", min_length.as_ref(), max_length.as_ref(), " characters")
        }
        Shape::List { min_items, max_items, .. } => range("", min_items.as_ref(), max_items.as_ref(), " items"),
        Shape::Boolean | Shape::Named(_) => None,
    }
}

fn range<T: std::fmt::Display>(before: &str, minimum: Option<&T>, maximum: Option<&T>, after: &str) -> Option<String> {
    match (minimum, maximum) {
        (None, None) => None,
        (Some(least), None) if before == "above " => Some(format!("above {least}{after}")),
        (Some(least), None) => Some(format!("{before}at least {least}{after}")),
        (None, Some(most)) => Some(format!("{before}at most {most}{after}")),
        (Some(least), Some(most)) => Some(format!("{before}{least} to {most}{after}")),
    }
}

fn json_word(json_type: JsonType) -> &'static str {
    match json_type {
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Boolean => "a boolean",
        JsonType::Array => "a list of one",
        JsonType::Null => "`null` (as left out)",
    }
}

/// `builder()`, and a method for each field with a default that applies it.
fn methods(api: &Api, schema: &Schema, object: &Object) -> Result<TokenStream> {
    let name = type_name(&schema.name);
    let with_default = object.properties.iter().filter(|property| property.default.is_some());
    let defaults = with_default.map(|property| default_method(api, property)).collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        impl #name {
            /// Returns a builder, which takes plain values and reports every fault at the end.
            pub fn builder() -> builder::#name {
                builder::#name::default()
            }

            #(#defaults)*
        }
    })
}

fn default_method(api: &Api, property: &Property) -> Result<TokenStream> {
    let (name, wire) = (field_name(&property.name), &property.name);
    let Some(default) = &property.default else { bail!("`{wire}` has no default") };
    let method = format_ident!("{name}_or_default");
    let docs = docs(&format!("`{wire}`, or its default `{default}` where it is left out."));
    let place = || format!("the default of `{wire}` does not have its type");
    let (result, value) = match (&property.shape, default) {
        (Shape::Boolean, Value::Bool(value)) => (quote!(bool), quote!(self.#name.unwrap_or(#value))),
        (Shape::Integer { .. }, value) => {
            let value = Literal::i64_unsuffixed(value.as_i64().with_context(place)?);
            (quote!(i64), quote!(self.#name.unwrap_or(#value)))
        }
        (Shape::Number { .. }, value) => {
            let value = Literal::f64_unsuffixed(value.as_f64().with_context(place)?);
            (quote!(f64), quote!(self.#name.unwrap_or(#value)))
        }
        (Shape::Text { .. }, Value::String(value)) => (quote!(&str), quote!(self.#name.as_deref().unwrap_or(#value))),
        (Shape::Named(schema), Value::String(value)) => {
            let variant = enum_variant(api, schema, value).with_context(place)?;
            let open = matches!(&api.schema(schema)?.kind, SchemaKind::TextEnum(set) if set.open);
            let copy = open.then(|| quote!(.clone()));
            let schema = type_name(schema);
            (quote!(#schema), quote!(self.#name #copy .unwrap_or(#schema::#variant)))
        }
        _ => bail!(place()),
    };
    Ok(quote! { #docs pub fn #method(&self) -> #result { #value } })
}

/// Implements the trait that a waiting caller reads, if the object has a job's status.
fn report(api: &Api, schema: &Schema, object: &Object) -> Result<Option<TokenStream>> {
    let mut status = None;
    for property in &object.properties {
        let Shape::Named(name) = &property.shape else { continue };
        if let SchemaKind::IntegerEnum(set) = &api.schema(name)?.kind
            && set.values.iter().any(|value| value.state.is_some())
        {
            status = Some(field_name(&property.name));
        }
    }
    let Some(status) = status else { return Ok(None) };
    let progress = progress(api, object)?;
    let desc = object.properties.iter().find(|property| property.name == "desc").map(|_| {
        quote! { fn desc(&self) -> Option<&str> { self.desc.as_deref() } }
    });
    let name = type_name(&schema.name);
    Ok(Some(quote! {
        impl crate::JobReport for #name {
            fn state(&self) -> crate::JobState {
                self.#status.state()
            }
            #progress
            #desc
        }
    }))
}

/// Reads `progress` where the object has it, or where an object inside it has.
fn progress(api: &Api, object: &Object) -> Result<Option<TokenStream>> {
    let optional = |object: &Object| {
        object.properties.iter().find(|property| property.name == "progress" && !property.required).map(|property| {
            match property.shape {
                Shape::Integer { .. } => quote!(.map(|percent| percent as f64)),
                _ => quote!(),
            }
        })
    };
    if let Some(cast) = optional(object) {
        return Ok(Some(quote! { fn progress(&self) -> Option<f64> { self.progress #cast } }));
    }
    for property in object.properties.iter().filter(|property| property.nullable && !property.required) {
        let Shape::Named(inner) = &property.shape else { continue };
        let SchemaKind::Object(inner) = &api.schema(inner)?.kind else { continue };
        if let Some(cast) = optional(inner) {
            let outer = field_name(&property.name);
            return Ok(Some(quote! {
                fn progress(&self) -> Option<f64> {
                    self.#outer.as_ref()?.as_ref()?.progress #cast
                }
            }));
        }
    }
    Ok(None)
}

/// The schema as data.
fn table(api: &Api, schema: &Schema, object: &Object) -> Result<TokenStream> {
    let (name, table_name) = (&schema.name, static_name(&schema.name));
    let about = text_literal(&schema.description);
    let source = optional_literal(schema.source.as_deref());
    let unknown = same_name(object.unknown);
    let fields = object.properties.iter().map(|property| table_field(api, property)).collect::<Result<Vec<_>>>()?;
    let exactly_one = object.exactly_one.iter().map(|path| quote!(&[#(#path),*]));
    Ok(quote! {
        static #table_name: Object = Object {
            name: #name,
            about: #about,
            source: #source,
            fields: &[#(#fields),*],
            unknown: Unknown::#unknown,
            exactly_one: &[#(#exactly_one),*],
        };
    })
}

fn table_field(api: &Api, property: &Property) -> Result<TokenStream> {
    let wire = &property.name;
    let shape = table_shape(api, &property.shape)?;
    let mut field = match property.required {
        true => quote!(Field::required(#wire, #shape)),
        false => quote!(Field::optional(#wire, #shape)),
    };
    let about = text_literal(&property.description);
    field = quote!(#field.about(#about));
    if property.nullable {
        field = quote!(#field.nullable());
    }
    if !property.aliases.is_empty() {
        let aliases = &property.aliases;
        field = quote!(#field.aliases(&[#(#aliases),*]));
    }
    if !property.accepts.is_empty() {
        let accepts = property.accepts.iter().map(same_name);
        field = quote!(#field.accepts(&[#(JsonType::#accepts),*]));
    }
    if let Some(default) = &property.default {
        let json = default.to_string();
        field = quote!(#field.default(#json));
    }
    if provenance_note(property.provenance).is_some() {
        let provenance = provenance_path(property.provenance);
        field = quote!(#field.provenance(#provenance));
    }
    if let Some(source) = &property.source {
        let source = text_literal(source);
        field = quote!(#field.source(#source));
    }
    if property.role == Some(Role::Picture) {
        field = quote!(#field.picture());
    }
    Ok(field)
}

fn table_shape(api: &Api, shape: &Shape) -> Result<TokenStream> {
    Ok(match shape {
        Shape::Boolean => quote!(Shape::Boolean),
        Shape::Integer { minimum, maximum, one_of } => {
            let whole = |value: &i64| Literal::i64_unsuffixed(*value).to_token_stream();
            let one_of = (!one_of.is_empty()).then(|| {
                let values = one_of.iter().map(whole);
                quote!(&[#(#values),*])
            });
            let rules = [
                ("minimum", minimum.as_ref().map(whole)),
                ("maximum", maximum.as_ref().map(whole)),
                ("one_of", one_of),
            ];
            let rules = rules_of("Integer", rules);
            quote!(Shape::Integer(#rules))
        }
        Shape::Number { minimum, maximum, above_minimum } => {
            let above = above_minimum.then(|| quote!(true));
            let bounds = [
                ("minimum", float(minimum.as_ref())?),
                ("maximum", float(maximum.as_ref())?),
                ("above_minimum", above),
            ];
            let rules = rules_of("Number", bounds);
            quote!(Shape::Number(#rules))
        }
        Shape::Text { min_length, max_length, pattern, numeric } => {
            let pattern = pattern.as_ref().map(|text| {
                let name = pattern_name(api, text);
                quote!(&#name)
            });
            let numeric = numeric.as_ref().map(table_numeric).transpose()?;
            let rules = [
                ("min_length", size(*min_length)),
                ("max_length", size(*max_length)),
                ("pattern", pattern),
                ("numeric", numeric),
            ];
            let rules = rules_of("Text", rules);
            quote!(Shape::Text(#rules))
        }
        Shape::List { item, min_items, max_items, unique } => {
            let item = table_shape(api, item)?;
            let unique = unique.then(|| quote!(true));
            let rules = chain([("min_items", size(*min_items)), ("max_items", size(*max_items)), ("unique", unique)]);
            quote!(Shape::List(&List::of(#item) #rules))
        }
        Shape::Named(name) => {
            let table = static_name(name);
            match api.schema(name)?.kind {
                SchemaKind::Object(_) => quote!(Shape::Object(&#table)),
                SchemaKind::TextEnum(_) => quote!(Shape::TextEnum(&#table)),
                SchemaKind::IntegerEnum(_) => quote!(Shape::IntegerEnum(&#table)),
            }
        }
    })
}

fn table_numeric(numeric: &Numeric) -> Result<TokenStream> {
    let integer = numeric.integer.then(|| quote!(true));
    let bounds = [
        ("minimum", float(numeric.minimum.as_ref())?),
        ("maximum", float(numeric.maximum.as_ref())?),
        ("integer", integer),
    ];
    Ok(rules_of("Numeric", bounds))
}

/// `Integer::ANY.minimum(1).maximum(4)`, with only the rules that there are.
fn rules_of<const N: usize>(kind: &str, rules: [(&str, Option<TokenStream>); N]) -> TokenStream {
    let (kind, chain) = (type_name(kind), chain(rules));
    quote!(#kind::ANY #chain)
}

fn chain<const N: usize>(rules: [(&str, Option<TokenStream>); N]) -> TokenStream {
    let calls = rules.into_iter().filter_map(|(name, value)| {
        let (name, value) = (field_name(name), value?);
        Some(quote!(.#name(#value)))
    });
    quote!(#(#calls)*)
}

/// The patterns of all texts, each once.
pub fn patterns(api: &Api) -> TokenStream {
    let statics = distinct_patterns(api).into_iter().map(|text| {
        let name = pattern_name(api, text);
        quote!(static #name: Pattern = Pattern::new(#text);)
    });
    quote!(#(#statics)*)
}

fn pattern_name(api: &Api, text: &str) -> Ident {
    let index = distinct_patterns(api).iter().position(|known| *known == text);
    format_ident!("PATTERN_{}", index.unwrap_or_default())
}

fn distinct_patterns(api: &Api) -> Vec<&str> {
    let mut found = Vec::new();
    for schema in &api.schemas {
        let SchemaKind::Object(object) = &schema.kind else { continue };
        for property in &object.properties {
            let mut shape = &property.shape;
            while let Shape::List { item, .. } = shape {
                shape = item;
            }
            if let Shape::Text { pattern: Some(text), .. } = shape
                && !found.contains(&text.as_str())
            {
                found.push(text);
            }
        }
    }
    found
}

fn size(value: Option<u64>) -> Option<TokenStream> {
    value.map(|value| Literal::u64_unsuffixed(value).to_token_stream())
}

fn float(value: Option<&Number>) -> Result<Option<TokenStream>> {
    let value = value.map(|number| number.as_f64().context("a bound must be a number")).transpose()?;
    Ok(value.map(|value| Literal::f64_unsuffixed(value).to_token_stream()))
}
