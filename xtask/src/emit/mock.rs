//! Emits the mock crate: progenitor's helpers for httpmock, with one function for each thing that must differ.

use anyhow::{Result, ensure};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprCall, File, parse_quote};

use crate::model::Api;
use crate::progenitor;

/// The whole generated file.
pub fn emit(api: &Api) -> Result<File> {
    let mut file = progenitor::mock(api)?;
    let mut fixup = LiteralPaths { fixed: 0 };
    fixup.visit_file_mut(&mut file);
    let operations = api.operations().count();
    ensure!(
        fixup.fixed >= operations,
        "fix-up `literal_paths`: changed {} patterns for {operations} operations; progenitor's output is not as expected",
        fixup.fixed
    );
    Ok(file)
}

/// Progenitor matches paths by regular expressions without escaping their text, lets a path parameter match no slash,
/// and panics on a pattern that does not compile. Here the path's text is matched as it is, and a parameter's value may
/// hold slashes.
struct LiteralPaths {
    fixed: usize,
}

impl VisitMut for LiteralPaths {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        let Expr::MethodCall(unwrap) = expression else { return };
        let Expr::Call(new) = unwrap.receiver.as_ref() else { return };
        if unwrap.method != "unwrap" || new.func.to_token_stream().to_string().replace(' ', "") != "regex::Regex::new" {
            return;
        }
        if let Some(replacement) = pattern(new) {
            *expression = replacement;
            self.fixed += 1;
        }
    }
}

/// The call of `crate::path` that takes the place of `Regex::new(…)`.
fn pattern(new: &ExprCall) -> Option<Expr> {
    match new.args.first()? {
        Expr::Lit(text) => {
            let template = template(&text.lit)?.replace("[^/]*", "{}");
            Some(parse_quote!(crate::path::any(#template)))
        }
        Expr::Reference(reference) => {
            let Expr::Macro(format) = reference.expr.as_ref() else { return None };
            let parser = syn::punctuated::Punctuated::<Expr, syn::Token![,]>::parse_terminated;
            let arguments = format.mac.parse_body_with(parser).ok()?;
            let mut arguments = arguments.into_iter();
            let Some(Expr::Lit(text)) = arguments.next() else { return None };
            let template = template(&text.lit)?;
            let value = arguments.next()?;
            Some(parse_quote!(crate::path::exactly(#template, &#value)))
        }
        _ => None,
    }
}

fn template(literal: &syn::Lit) -> Option<String> {
    let syn::Lit::Str(text) = literal else { return None };
    Some(text.value().strip_prefix('^')?.strip_suffix('$')?.to_owned())
}
