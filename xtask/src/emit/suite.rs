//! Emits what the workspace's tests know of the contract: its documents and the list of its operations.

use proc_macro2::TokenStream;
use quote::quote;

use crate::emit::server::routes_name;
use crate::model::{Api, Document, Operation};
use crate::names::{field_name, trait_name, type_name};

/// The whole generated file.
pub fn emit(api: &Api) -> TokenStream {
    let documents = api.documents.iter().map(|document| {
        let (name, file) = (&document.name, format!("../../crates/imgopen-server/src/{}.json", document.name));
        quote!((#name, include_str!(#file)))
    });
    let operations = api.documents.iter().map(list);
    let jobs = api.operations().filter(|operation| operation.job.is_some()).map(|operation| {
        let (id, request) = (field_name(&operation.id), type_name(&operation.request));
        quote!(#id(#request);)
    });
    quote! {
        /// The documents as JSON, each with its name; the vendor's is the first.
        pub const DOCUMENTS: &[(&str, &str)] = &[#(#documents),*];

        /// Passes every operation to a macro. For each document: the server's trait and its routes, then for each operation
        /// the method, the request, the variable part of the path if it has one, and the answer.
        #[macro_export]
        macro_rules! each_operation {
            ($apply:ident) => {
                $apply! { #(#operations)* }
            };
        }

        /// Passes every operation that starts a job to a macro: the method and the request.
        #[macro_export]
        macro_rules! each_job {
            ($apply:ident) => {
                $apply! { #(#jobs)* }
            };
        }
    }
}

fn list(document: &Document) -> TokenStream {
    let (service, routes) = (trait_name(&document.name), routes_name(document));
    let operations = document.operations.iter().map(operation);
    quote!(#service #routes { #(#operations)* })
}

fn operation(operation: &Operation) -> TokenStream {
    let (id, request, response) =
        (field_name(&operation.id), type_name(&operation.request), type_name(&operation.response));
    let parameters = operation.parameters.iter().map(|parameter| {
        let (name, schema) = (field_name(&parameter.name), type_name(&parameter.schema));
        quote!(, #name: #schema)
    });
    quote!(#id(#request #(#parameters)*) -> #response;)
}
