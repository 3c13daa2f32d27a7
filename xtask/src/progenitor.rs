//! Runs progenitor, and reports the operation that makes it panic.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use anyhow::{Context, Result, anyhow, bail};
use openapiv3::OpenAPI;
use proc_macro2::TokenStream;
use progenitor_impl::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TagStyle};
use quote::quote;

use crate::model::Api;
use crate::prepare::prepare;

/// The name of the client crate in Rust code, which the mocks refer to.
const CLIENT_CRATE: &str = "imgopen_client";

/// The client for all operations.
pub fn client(api: &Api) -> Result<syn::File> {
    run(api, |document| {
        let tokens = generator().generate_tokens(document)?;
        Ok(tokens)
    })
}

/// The httpmock helpers for all operations.
pub fn mock(api: &Api) -> Result<syn::File> {
    run(api, |document| {
        // The helpers name the same types as the client, so the same generator must have seen the document.
        let mut generator = generator();
        generator.generate_tokens(document)?;
        Ok(generator.httpmock(document, CLIENT_CRATE)?)
    })
}

fn generator() -> Generator {
    let mut settings = GenerationSettings::default();
    settings
        .with_interface(InterfaceStyle::Builder)
        .with_tag(TagStyle::Merged)
        .with_inner_type(quote!(crate::Settings))
        .with_hooks(HooksMode::default());
    Generator::new(&settings)
}

fn run(api: &Api, generate: impl Fn(&OpenAPI) -> Result<TokenStream>) -> Result<syn::File> {
    let document = prepare(api, api.operations())?;
    match quietly(|| generate(&document)) {
        Ok(tokens) => syn::parse2(tokens).context("progenitor's output is not Rust"),
        Err(whole) => Err(culprit(api, &generate).unwrap_or(whole)),
    }
}

/// Tries the operations one by one and names the first that fails alone.
fn culprit(api: &Api, generate: &impl Fn(&OpenAPI) -> Result<TokenStream>) -> Option<anyhow::Error> {
    api.operations().find_map(|operation| {
        let alone = prepare(api, std::iter::once(operation)).and_then(|document| quietly(|| generate(&document)));
        let error = alone.err()?;
        Some(error.context(format!("progenitor cannot generate the operation `{}`: change or report it", operation.id)))
    })
}

thread_local! {
    /// Whether this thread's panics are returned as errors, so that the terminal need not show them.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Turns a panic into an error, without the panic's own message on the terminal.
fn quietly(work: impl FnOnce() -> Result<TokenStream>) -> Result<TokenStream> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    match outcome {
        Ok(result) => result,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
            let Some(text) = text else { bail!("progenitor panicked") };
            Err(anyhow!("progenitor panicked: {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::source;
    use crate::model;

    #[test]
    fn a_panic_names_the_operation() {
        let root = source::workspace_root().unwrap();
        let api = model::read::read(&source::load(&root).unwrap()).unwrap();
        let stumbles = |document: &OpenAPI| -> Result<TokenStream> {
            assert!(!document.paths.paths.keys().any(|path| path.ends_with("/roop")), "no roop");
            Ok(TokenStream::new())
        };
        let error = run(&api, stumbles).err().map(|error| format!("{error:#}")).unwrap();
        assert!(error.contains("the operation `swap_face`") && error.contains("panicked: no roop"), "{error}");
    }
}
