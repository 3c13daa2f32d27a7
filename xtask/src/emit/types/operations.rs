//! Emits the operations as data, and ties each request to its operation, answer and job.

use anyhow::{Context, Result, bail};
use proc_macro2::TokenStream;
use quote::quote;

use super::parts::{one_line, option, optional_literal, provenance_path, text_literal};
use crate::emit::docs;
use crate::model::{Api, CallerId, Document, IdSource, Job, Operation, Shape};
use crate::names::{field_name, static_name, type_name, variant_name};

/// The operations and their traits.
pub fn emit(api: &Api) -> Result<TokenStream> {
    let documented = api.documents.iter().flat_map(|document| {
        document.operations.iter().map(move |operation| operation_static(api, document, operation))
    });
    let statics = documented.collect::<Result<Vec<_>>>()?;
    let names = api.operations().map(|operation| static_name(&operation.id));
    let mut traits = Vec::new();
    let mut answered: Vec<&str> = Vec::new();
    for operation in api.operations() {
        let place = || format!("operation `{}`", operation.id);
        traits.push(request(operation));
        if !answered.contains(&operation.response.as_str()) {
            answered.push(&operation.response);
            traits.push(answer(api, &operation.response).with_context(place)?);
        }
        traits.extend(job(api, operation).with_context(place)?);
    }
    let (callbacks, hosted) = (callbacks(api), hosted(api));
    Ok(quote! {
        /// The operations of the contract.
        pub mod operations {
            use super::*;
            use crate::operation::{Callback, CallerId, IdSource, JobQuery, Operation, PathParameter, report};

            /// Every operation, in the order of the documents, the vendor's first.
            pub static ALL: &[&Operation] = &[#(&#names),*];

            #(#statics)*
        }

        #(#traits)*
        #callbacks
        #hosted
    })
}

/// The address of the hosted API.
fn hosted(api: &Api) -> Option<TokenStream> {
    let url = api.documents.iter().find_map(|document| document.server.as_ref())?;
    Some(quote! {
        /// Where the hosted API is.
        pub const HOSTED_URL: &str = #url;
    })
}

/// What is pushed when a job ends: one variant for each operation that takes an address.
fn callbacks(api: &Api) -> TokenStream {
    let pushing = || api.operations().filter_map(|operation| Some((operation, operation.callback.as_ref()?)));
    let variants = pushing().map(|(operation, callback)| {
        let (variant, body) = (variant_name(&operation.id), type_name(&callback.body));
        let docs = format!(" Pushed when a job of `{}` ends.", operation.id);
        quote!(#[doc = #docs] #variant(#body),)
    });
    let reads = pushing().map(|(operation, _)| {
        let (id, table, variant) = (&operation.id, static_name(&operation.id), variant_name(&operation.id));
        quote!(#id => pushed(&operations::#table, json, Self::#variant),)
    });
    let ids = pushing().map(|(operation, _)| {
        let (name, variant) = (static_name(&operation.id), variant_name(&operation.id));
        quote!(Self::#variant(_) => &operations::#name,)
    });
    let reports = pushing().map(|(operation, _)| {
        let variant = variant_name(&operation.id);
        quote!(Self::#variant(answer) => answer.data.state(),)
    });
    quote! {
        use crate::callback::pushed;

        /// The body of a callback, which the API pushes to the caller when a job ends.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Callback {
            #(#variants)*
            /// Pushed with an envelope whose code is not `"200"`: the job failed.
            Failed {
                /// The operation whose job failed.
                operation: &'static crate::Operation,
                /// What the envelope says.
                envelope: Envelope,
            },
        }

        impl Callback {
            /// Reads the body that an operation's job pushed; `None` if that operation pushes none.
            pub fn read(operation: &str, json: &[u8]) -> Option<Result<Self, crate::ReadError>> {
                Some(match operation {
                    #(#reads)*
                    _ => return None,
                })
            }

            /// The operation whose job ended.
            pub fn operation(&self) -> &'static crate::Operation {
                match self {
                    #(#ids)*
                    Self::Failed { operation, .. } => operation,
                }
            }

            /// How the job ended.
            pub fn state(&self) -> crate::JobState {
                use crate::JobReport;
                match self {
                    #(#reports)*
                    Self::Failed { .. } => crate::JobState::Failed,
                }
            }
        }
    }
}

/// The names of the headers that carry the access key.
pub fn key_headers(api: &Api) -> Result<TokenStream> {
    let [id, secret] = api.keys.as_slice() else { bail!("the document must declare two key headers") };
    let (id_header, secret_header) = (&id.header, &secret.header);
    let id_docs = docs(&format!("The header `{id_header}`: {}", one_line(&id.description)));
    let secret_docs = docs(&format!("The header `{secret_header}`: {}", one_line(&secret.description)));
    Ok(quote! {
        impl crate::Credentials {
            #id_docs
            pub const ID_HEADER: &'static str = #id_header;
            #secret_docs
            pub const SECRET_HEADER: &'static str = #secret_header;
        }
    })
}

fn operation_static(api: &Api, document: &Document, operation: &Operation) -> Result<TokenStream> {
    let document = &document.name;
    let Operation { id, path, tag, summary, idempotent, .. } = operation;
    let name = static_name(id);
    let docs = format!(" `{id}`: {summary}.");
    let about = text_literal(&operation.description);
    let page = option(operation.page.as_ref().map(|page| quote!(#page)));
    let provenance = provenance_path(operation.provenance);
    let source = optional_literal(operation.source.as_deref());
    let caller_id = option(
        operation
            .caller_id
            .as_ref()
            .map(|CallerId { path, unique }| quote!(CallerId { path: &[#(#path),*], unique: #unique })),
    );
    let model = option(operation.model.as_ref().map(|path| quote!(&[#(#path),*])));
    let (request, response) = (static_name(&operation.request), static_name(&operation.response));
    let parameters = operation.parameters.iter().map(|parameter| {
        let (name, about, multi) = (&parameter.name, text_literal(&parameter.description), parameter.multi_segment);
        let values = static_name(&parameter.schema);
        let source = optional_literal(parameter.source.as_deref());
        quote!(PathParameter { name: #name, about: #about, source: #source, values: &#values, multi_segment: #multi })
    });
    let job = option(operation.job.as_ref().map(|job| job_query(api, job)).transpose()?);
    let callback = option(operation.callback.as_ref().map(|callback| {
        let (field, body) = (&callback.field, static_name(&callback.body));
        quote!(Callback { field: #field, body: &#body })
    }));
    Ok(quote! {
        #[doc = #docs]
        pub static #name: Operation = Operation {
            id: #id,
            document: #document,
            method: "POST",
            path: #path,
            tag: #tag,
            summary: #summary,
            about: #about,
            page: #page,
            provenance: #provenance,
            source: #source,
            idempotent: #idempotent,
            parameters: &[#(#parameters),*],
            request: &#request,
            response: &#response,
            caller_id: #caller_id,
            model: #model,
            job: #job,
            callback: #callback,
        };
    })
}

/// How the state of a job is asked for, as data.
fn job_query(api: &Api, job: &Job) -> Result<TokenStream> {
    let (query, field) = (&job.query, &job.field);
    let parameters = job.parameters.iter().map(|(name, value)| quote!((#name, #value)));
    let id = match &job.id {
        IdSource::Request(path) => quote!(IdSource::Request(&[#(#path),*])),
        IdSource::Response(path) => quote!(IdSource::Response(&[#(#path),*])),
    };
    let answer = type_name(&api.operation(query)?.response);
    Ok(quote! {
        JobQuery {
            query: #query,
            field: #field,
            parameters: &[#(#parameters),*],
            id: #id,
            report: report::<#answer>,
        }
    })
}

fn request(operation: &Operation) -> TokenStream {
    let (request, response) = (type_name(&operation.request), type_name(&operation.response));
    let name = static_name(&operation.id);
    quote! {
        impl crate::Request for #request {
            type Response = #response;

            fn operation() -> &'static crate::Operation {
                &operations::#name
            }
        }
    }
}

/// The envelope of a success answer.
fn answer(api: &Api, response: &str) -> Result<TokenStream> {
    let object = api.object(response)?;
    let names: Vec<_> = object.properties.iter().map(|property| property.name.as_str()).collect();
    if !names.contains(&"code") || !names.contains(&"msg") {
        bail!("the answer `{response}` is not an envelope: it needs `code` and `msg`");
    }
    let name = type_name(response);
    let data = object.properties.iter().find(|property| property.name == "data");
    let (data_type, set, get) = match data.map(|data| (&data.shape, data.required)) {
        None => (quote!(()), quote!(), quote!(Some(()))),
        Some((Shape::Named(inner), required)) => {
            let inner = type_name(inner);
            match required {
                true => (quote!(#inner), quote!(data,), quote!(Some(self.data))),
                false => (quote!(#inner), quote!(data: Some(data),), quote!(self.data)),
            }
        }
        Some(_) => bail!("the `data` of `{response}` must be a component"),
    };
    let argument = if data.is_some() { quote!(data) } else { quote!(_data) };
    Ok(quote! {
        impl crate::Answer for #name {
            type Data = #data_type;

            fn code(&self) -> &str {
                &self.code
            }

            fn msg(&self) -> &str {
                &self.msg
            }

            fn success(#argument: Self::Data) -> Self {
                Self { code: crate::SUCCESS_CODE.to_owned(), msg: crate::SUCCESS_MSG.to_owned(), #set }
            }

            fn into_data(self) -> Option<Self::Data> {
                #get
            }
        }
    })
}

/// Where the id of a job lies, and the type of its state.
fn job(api: &Api, operation: &Operation) -> Result<Option<TokenStream>> {
    let Some(job) = &operation.job else { return Ok(None) };
    let query = api.operation(&job.query)?;
    let data = api.object(&query.response)?.properties.iter().find(|property| property.name == "data");
    let Some(Shape::Named(report)) = data.map(|data| &data.shape) else {
        bail!("the answer of `{}` has no `data` with a job's state", query.id);
    };
    let (request, report) = (type_name(&operation.request), type_name(report));
    let (root, path, response_name) = match &job.id {
        IdSource::Request(path) => (quote!(self), path, quote!(_response)),
        IdSource::Response(path) => (quote!(response), path, quote!(response)),
    };
    let steps = path.iter().map(|step| field_name(step));
    Ok(Some(quote! {
        impl crate::JobRequest for #request {
            type Report = #report;

            fn job_id(&self, #response_name: &Self::Response) -> String {
                #root #(.#steps)*.clone()
            }
        }
    }))
}
