//! Emits the server crate: for each document a trait with one method an operation, and a router that calls it.

use anyhow::{Result, ensure};
use heck::ToSnakeCase;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::document::source::VENDOR;
use crate::emit::docs::POLICY;
use crate::emit::{docs, operation_docs};
use crate::model::{Api, Document, Operation, PathParameter, SchemaKind};
use crate::names::{field_name, static_name, trait_name, type_name};

/// The whole generated file.
pub fn emit(api: &Api) -> Result<TokenStream> {
    let parts = api.documents.iter().map(|document| part(api, document)).collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        use std::future::Future;
        use std::pin::Pin;
        use std::sync::Arc;

        use axum::Router;
        use axum::http::Uri;
        use axum::routing::post;
        use imgopen_types::{Credentials, operations};

        #[doc(inline)]
        pub use imgopen_types as types;

        use crate::call::{Call, Service, Shared};
        use crate::{Caller, Failure, Options, complete, documents, routing};

        #(#parts)*
    })
}

fn part(api: &Api, document: &Document) -> Result<TokenStream> {
    let name = trait_name(&document.name);
    let about = format!(
        " {}: one method for each of its {} operations.\n\n A method that is not written answers 501, so a server can begin with one operation. See the\n [crate's front page](crate) for an example.",
        document.title,
        document.operations.len()
    );
    let methods = document.operations.iter().map(method);
    let routes = document.operations.iter().map(|operation| routes(api, operation)).collect::<Result<Vec<_>>>()?;
    let Functions { router, router_with, routes: routes_function } = functions(document);
    let prefix = if document.name == VENDOR { String::new() } else { format!("/{}", suffix(document)) };
    let (yaml_path, json_path) = (format!("{prefix}/openapi.yaml"), format!("{prefix}/openapi.json"));
    let (yaml_file, json_file) = (format!("{}.yaml", document.name), format!("{}.json", document.name));
    // One page shows all documents, so one router serves it.
    let is_first = document.name == VENDOR;
    let page_docs = if is_first { " the reference of all documents at `/docs`," } else { "" };
    let router_docs = format!(
        " Serves {name} with the default [`Options`]: every operation at its path, the document at `{yaml_path}` and\n `{json_path}`,{page_docs} and the envelope for everything else."
    );
    let page = is_first.then(|| quote!(.route("/docs", documents::page(include_str!("docs.html"), #POLICY))));
    let with_docs = format!(" Like [`{router}`], with options.");
    let routes_docs = format!(
        " The routes of [`{router}`] alone, to be merged with others before [`complete`] adds the envelope for everything else."
    );
    Ok(quote! {
        #[doc = #about]
        pub trait #name: Send + Sync + 'static {
            /// Decides whether these keys may call at all, before the body is read. The default accepts all keys, because
            /// only the implementer knows them; reject others with [`Failure::unauthorized`].
            fn authorize(
                &self,
                operation: &'static types::Operation,
                keys: &Credentials,
            ) -> impl Future<Output = Result<(), Failure>> + Send {
                let _ = (operation, keys);
                async { Ok(()) }
            }

            #(#methods)*
        }

        #[doc = #router_docs]
        pub fn #router<S: #name>(service: S) -> Router {
            #router_with(service, Options::default())
        }

        #[doc = #with_docs]
        pub fn #router_with<S: #name>(service: S, options: Options) -> Router {
            complete(#routes_function(Arc::new(service), options))
        }

        #[doc = #routes_docs]
        pub fn #routes_function<S: #name>(service: Arc<S>, options: Options) -> Router {
            let authorize = {
                let service = service.clone();
                move |operation, keys: Credentials| -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {
                    let service = service.clone();
                    Box::pin(async move { service.authorize(operation, &keys).await })
                }
            };
            Router::new()
                .route(#yaml_path, documents::yaml(include_str!(#yaml_file)))
                .route(#json_path, documents::json(include_str!(#json_file)))
                #page
                #(#routes)*
                .with_state(Shared::new(service, options, Arc::new(authorize)))
        }
    })
}

/// The name of the function that returns a document's routes.
pub fn routes_name(document: &Document) -> Ident {
    functions(document).routes
}

fn suffix(document: &Document) -> String {
    document.name.strip_prefix(VENDOR).unwrap_or(&document.name).to_snake_case()
}

/// The names of a document's functions.
struct Functions {
    router: Ident,
    router_with: Ident,
    routes: Ident,
}

/// `router` for the vendor's document, `extras_router` for `imgopen-extras`.
fn functions(document: &Document) -> Functions {
    let prefix = match suffix(document).as_str() {
        "" => String::new(),
        suffix => format!("{suffix}_"),
    };
    Functions {
        router: format_ident!("{prefix}router"),
        router_with: format_ident!("{prefix}router_with"),
        routes: format_ident!("{prefix}routes"),
    }
}

fn method(operation: &Operation) -> TokenStream {
    let name = field_name(&operation.id);
    let id = &operation.id;
    let docs = docs(&operation_docs(operation));
    let (request, response) = (type_name(&operation.request), type_name(&operation.response));
    let parameters = operation.parameters.iter().map(|parameter| {
        let (name, schema) = (field_name(&parameter.name), type_name(&parameter.schema));
        quote!(#name: types::#schema,)
    });
    let unused = operation.parameters.iter().map(|parameter| field_name(&parameter.name));
    quote! {
        #docs
        fn #name(
            &self,
            caller: Caller,
            #(#parameters)*
            request: types::#request,
        ) -> impl Future<Output = Result<types::#response, Failure>> + Send {
            let _ = (caller, #(#unused,)* request);
            async { Err(Failure::not_implemented(#id)) }
        }
    }
}

/// The routes of an operation: one, or one for each number of segments that a path parameter's values have.
fn routes(api: &Api, operation: &Operation) -> Result<TokenStream> {
    let method = field_name(&operation.id);
    let table = static_name(&operation.id);
    let request = type_name(&operation.request);
    let paths = paths(api, operation)?;
    let Some(parameter) = operation.parameters.first() else {
        let path = &operation.path;
        return Ok(quote! {
            .route(#path, post(|Service(service): Service<S>, call: Call<types::#request>| async move {
                routing::answer(service.#method(call.caller, call.request).await)
            }))
        });
    };
    let (name, schema) = (field_name(&parameter.name), type_name(&parameter.schema));
    Ok(quote! {
        #(.route(#paths, post(|Service(service): Service<S>, uri: Uri, call: Call<types::#request>| async move {
            let #name = match routing::parameter::<types::#schema>(&operations::#table, uri.path()) {
                Ok(value) => value,
                Err(failure) => return routing::answer(Err::<(), _>(failure)),
            };
            routing::answer(service.#method(call.caller, #name, call.request).await)
        })))*
    })
}

fn paths(api: &Api, operation: &Operation) -> Result<Vec<String>> {
    let count = operation.parameters.len();
    ensure!(count <= 1, "operation `{}` has {count} path parameters; move all but one into the body", operation.id);
    let Some(parameter) = operation.parameters.first() else { return Ok(vec![operation.path.clone()]) };
    let template = format!("{{{}}}", parameter.name);
    let longest = segments(api, parameter)?;
    Ok((1..=longest)
        .map(|count| {
            let parts: Vec<_> = (1..=count).map(|index| format!("{{{}{index}}}", parameter.name)).collect();
            operation.path.replace(&template, &parts.join("/"))
        })
        .collect())
}

/// The greatest number of segments that a value of the parameter has.
fn segments(api: &Api, parameter: &PathParameter) -> Result<usize> {
    let SchemaKind::TextEnum(set) = &api.schema(&parameter.schema)?.kind else { return Ok(1) };
    let counts = set.values.iter().map(|value| value.value.split('/').count());
    Ok(if parameter.multi_segment { counts.max().unwrap_or(1) } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::source;
    use crate::model;

    #[test]
    fn a_second_path_parameter_is_refused_and_not_left_out() {
        let root = source::workspace_root().unwrap();
        let mut api = model::read::read(&source::load(&root).unwrap()).unwrap();
        let operation = api.documents[0].operations.iter_mut().find(|known| known.id == "query_tool_task").unwrap();
        let (name, schema) = ("other".to_owned(), "ToolCode".to_owned());
        let (description, source) = (String::new(), None);
        operation.parameters.push(PathParameter { name, description, source, schema, multi_segment: false });
        let error = emit(&api).unwrap_err().to_string();
        assert!(error.contains("`query_tool_task` has 2 path parameters"), "{error}");
    }
}
