//! Emits the client crate: progenitor's builder client, with one function for each thing that must differ.
//!
//! A fix-up that finds nothing to change is an error, so none outlives what it is for.

use anyhow::{Context, Result, bail, ensure};
use quote::{ToTokens, quote};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, File, ImplItemFn, Item, ReturnType, Stmt, parse_quote};

use crate::emit::{doc_lines, operation_docs, types};
use crate::model::{Api, Operation};
use crate::names::{field_name, type_name};
use crate::progenitor;

/// The whole generated file.
pub fn emit(api: &Api) -> Result<File> {
    let mut file = progenitor::client(api)?;
    types_from_their_crate(&mut file)?;
    let encodes =
        api.operations().flat_map(|operation| &operation.parameters).any(|parameter| !parameter.multi_segment);
    own_error(&mut file, encodes)?;
    own_call(&mut file, api.operations().count())?;
    own_constructor(&mut file)?;
    let slashes: Vec<_> = api
        .operations()
        .flat_map(|operation| &operation.parameters)
        .filter(|parameter| parameter.multi_segment)
        .map(|parameter| (field_name(&parameter.name).to_string(), parameter.name.clone()))
        .collect();
    slashes_as_separators(&mut file, &slashes)?;
    own_docs(&mut file, api)?;
    for operation in api.operations() {
        file.items.extend(job(api, operation)?);
    }
    Ok(file)
}

/// How a job is started and asked for.
fn job(api: &Api, operation: &Operation) -> Result<Option<Item>> {
    let Some(job) = &operation.job else { return Ok(None) };
    let query = api.operation(&job.query)?;
    let (request, submit) = (type_name(&operation.request), field_name(&operation.id));
    let (ask, field) = (field_name(&query.id), field_name(&job.field));
    let mut parameters = Vec::new();
    for (name, value) in &job.parameters {
        let parameter = query.parameters.iter().find(|parameter| parameter.name == *name);
        let schema = &parameter.with_context(|| format!("`{}` has no parameter `{name}`", query.id))?.schema;
        let variant = types::enums::enum_variant(api, schema, value)?;
        let (name, schema) = (field_name(name), type_name(schema));
        parameters.push(quote!(.#name(types::#schema::#variant)));
    }
    Ok(Some(parse_quote! {
        impl crate::Job for types::#request {
            async fn submit(&self, client: &Client) -> Result<Self::Response, Error> {
                client.#submit().body(self.clone()).send().await.map(ResponseValue::into_inner)
            }

            async fn query(client: &Client, id: &str) -> Result<Self::Report, Error> {
                client.#ask() #(#parameters)* .body_map(|body| body.#field(id)).send().await.into_data()
            }
        }
    }))
}

/// The types live in their own crate, which the server shares.
fn types_from_their_crate(file: &mut File) -> Result<()> {
    let types = file.items.iter_mut().find(|item| matches!(item, Item::Mod(module) if module.ident == "types"));
    let Some(types) = types else { bail!("fix-up `types_from_their_crate`: progenitor emits no module `types`") };
    *types = parse_quote! {
        #[doc(inline)]
        pub use imgopen_types as types;
    };
    Ok(())
}

/// One error type that distinguishes all failures replaces progenitor's, which loses the body or the status.
fn own_error(file: &mut File, encodes_paths: bool) -> Result<()> {
    let encode_path = encodes_paths.then(|| quote!(, encode_path));
    let before = file.items.len();
    file.items.retain(
        |item| !matches!(item, Item::Use(used) if used.to_token_stream().to_string().contains("progenitor_client")),
    );
    ensure!(file.items.len() + 2 == before, "fix-up `own_error`: progenitor's two imports are not as expected");
    file.items.insert(0, parse_quote! { pub use progenitor_client::ResponseValue; });
    file.items.insert(1, parse_quote! { use progenitor_client::{OperationInfo #encode_path}; });
    file.items.insert(2, parse_quote! { use crate::{Error, IntoData}; });
    file.items.retain(|item| {
        !matches!(item, Item::Impl(found) if found.trait_.as_ref().is_some_and(|(path, _)| {
            path.segments.last().is_some_and(|segment| segment.ident == "ClientInfo" || segment.ident == "ClientHooks")
        }))
    });
    let builder = file.items.iter_mut().find_map(|item| match item {
        Item::Mod(module) if module.ident == "builder" => module.content.as_mut(),
        _ => None,
    });
    let Some((_, items)) = builder else { bail!("fix-up `own_error`: progenitor emits no module `builder`") };
    for item in items.iter_mut() {
        if let Item::Use(used) = item
            && used.to_token_stream().to_string().contains("encode_path")
        {
            *item = parse_quote! { use super::{Error, OperationInfo, ResponseValue #encode_path}; };
        }
    }
    Ok(())
}

/// Every request goes through `Client::call`, which adds the keys, traces, retries and reads the envelope. That also
/// drops the header `api-version`, which the API does not have.
fn own_call(file: &mut File, operations: usize) -> Result<()> {
    let mut fixup = OwnCall { changed: 0 };
    fixup.visit_file_mut(file);
    ensure!(
        fixup.changed == operations,
        "fix-up `own_call`: changed {} of {operations} `send` methods; progenitor's output is not as expected",
        fixup.changed
    );
    Ok(())
}

struct OwnCall {
    changed: usize,
}

impl VisitMut for OwnCall {
    fn visit_impl_item_fn_mut(&mut self, function: &mut ImplItemFn) {
        if function.sig.ident != "send" {
            return visit_mut::visit_impl_item_fn_mut(self, function);
        }
        let ReturnType::Type(_, result) = &mut function.sig.output else { return };
        let syn::Type::Path(result) = result.as_mut() else { return };
        let Some(segment) = result.path.segments.last_mut() else { return };
        let syn::PathArguments::AngleBracketed(arguments) = &mut segment.arguments else { return };
        let Some(error) = arguments.args.last_mut() else { return };
        *error = parse_quote!(Error);
        let statements = &mut function.block.stmts;
        let is = |statement: &Stmt, text: &str| statement.to_token_stream().to_string().replace(' ', "").contains(text);
        let Some(info) = statements.iter().position(|statement| is(statement, "letinfo=OperationInfo")) else { return };
        let api_version = statements.iter().filter(|statement| is(statement, "header_map")).count();
        if api_version != 3 || statements.len() != info + 6 {
            return;
        }
        statements.truncate(info + 1);
        statements.retain(|statement| !is(statement, "letmutheader_map") && !is(statement, "header_map.append"));
        for statement in statements.iter_mut() {
            // The builder is checked and written in one go; the finished type is not needed in between.
            if is(statement, "letbody=body") {
                *statement = parse_quote! {
                    let body = body
                        .and_then(|builder| builder.to_json().map_err(|error| error.to_string()))
                        .map_err(Error::InvalidRequest)?;
                };
            }
        }
        // The client keeps the addresses of fixed paths ready, since reading one takes longer than making the rest of a request.
        let has_fixed_path = statements.iter().any(|statement| is(statement, "client.baseurl,)"));
        let is_made_there =
            |statement: &Stmt| is(statement, "letmutrequest") || has_fixed_path && is(statement, "leturl=format!");
        statements.retain(|statement| !is_made_there(statement));
        statements.push(Stmt::Expr(
            match has_fixed_path {
                true => parse_quote!(client.call(&info, body).await),
                false => parse_quote!(client.call_at(&info, &url, body).await),
            },
            None,
        ));
        self.changed += 1;
    }
}

/// The crate has constructors of its own, which check the address and the keys and do not panic; of progenitor's two,
/// one goes and the other becomes private.
fn own_constructor(file: &mut File) -> Result<()> {
    for item in &mut file.items {
        let Item::Impl(found) = item else { continue };
        let before = found.items.len();
        found.items.retain(|item| !matches!(item, syn::ImplItem::Fn(function) if function.sig.ident == "new"));
        if found.items.len() == before {
            continue;
        }
        let other = found.items.iter_mut().find_map(|item| match item {
            syn::ImplItem::Fn(function) if function.sig.ident == "new_with_client" => Some(function),
            _ => None,
        });
        let other = other.context("fix-up `own_constructor`: progenitor emits no `Client::new_with_client`")?;
        other.vis = parse_quote!(pub(crate));
        other.attrs = vec![parse_quote!(#[doc = " A client of these parts, which the builder has checked."])];
        return Ok(());
    }
    bail!("fix-up `own_constructor`: progenitor emits no `Client::new`")
}

/// The documentation of each operation is the document's, without progenitor's example, which does not compile.
fn own_docs(file: &mut File, api: &Api) -> Result<()> {
    let mut documented = 0;
    let methods = file.items.iter_mut().filter_map(|item| match item {
        Item::Impl(found) if found.self_ty.to_token_stream().to_string() == "Client" => Some(&mut found.items),
        _ => None,
    });
    for method in methods.flatten() {
        let syn::ImplItem::Fn(method) = method else { continue };
        let Some(operation) = api.operations().find(|operation| method.sig.ident == operation.id.as_str()) else {
            continue;
        };
        let lines = doc_lines(&operation_docs(operation));
        method.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
        method.attrs.extend(lines.into_iter().map(|line| parse_quote!(#[doc = #line])));
        documented += 1;
    }
    let operations = api.operations().count();
    ensure!(documented == operations, "fix-up `own_docs`: documented {documented} of {operations} methods");
    Ok(())
}

/// A slash in such a path parameter separates segments on the wire; progenitor would write it as `%2F`. The parameters are
/// pairs of the name in Rust and the name on the wire.
fn slashes_as_separators(file: &mut File, parameters: &[(String, String)]) -> Result<()> {
    let mut fixup = Slashes { parameters, changed: 0 };
    fixup.visit_file_mut(file);
    ensure!(
        fixup.changed == parameters.len(),
        "fix-up `slashes_as_separators`: changed {} of {} path parameters",
        fixup.changed,
        parameters.len()
    );
    Ok(())
}

struct Slashes<'a> {
    parameters: &'a [(String, String)],
    changed: usize,
}

impl VisitMut for Slashes<'_> {
    /// Progenitor writes `format!("…", client.baseurl, encode_path(&tool_code.to_string()))`.
    fn visit_macro_mut(&mut self, found: &mut syn::Macro) {
        if !found.path.is_ident("format") {
            return;
        }
        let parser = syn::punctuated::Punctuated::<Expr, syn::Token![,]>::parse_terminated;
        let Ok(mut arguments) = found.parse_body_with(parser) else { return };
        for argument in &mut arguments {
            let text = argument.to_token_stream().to_string().replace(' ', "");
            let is_it = |(name, _): &&(String, String)| text == format!("encode_path(&{name}.to_string())");
            let Some((name, on_wire)) = self.parameters.iter().find(is_it) else { continue };
            let name = syn::Ident::new(name, proc_macro2::Span::call_site());
            *argument = parse_quote!(crate::path::segments(#on_wire, &#name.to_string())?);
            self.changed += 1;
        }
        found.tokens = arguments.to_token_stream();
    }
}
