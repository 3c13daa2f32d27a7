//! How names of the document become names in Rust.

use heck::{ToShoutySnakeCase, ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span};

/// A type's name. The document's schema names are Rust's already; they are checked by the linter.
pub fn type_name(schema: &str) -> Ident {
    Ident::new(schema, Span::call_site())
}

/// The name of an enum variant that the generated crate has under the same name as the model.
pub fn same_name(variant: impl std::fmt::Debug) -> Ident {
    Ident::new(&format!("{variant:?}"), Span::call_site())
}

/// A field's, parameter's or method's name: `maxEpochs` becomes `max_epochs`.
pub fn field_name(name: &str) -> Ident {
    let snake = name.to_snake_case();
    let field = if is_keyword(&snake) { format!("{snake}_") } else { snake };
    Ident::new(&field, Span::call_site())
}

/// Whether Rust keeps the word for itself, in the edition of the generated crates.
pub fn is_keyword(word: &str) -> bool {
    let is_name = word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    // `syn` knows no editions, and `gen` is a keyword since 2024.
    is_name && (word == "gen" || syn::parse_str::<Ident>(word).is_err())
}

/// A static's name: `SubmitTrainingRequest` becomes `SUBMIT_TRAINING_REQUEST`.
pub fn static_name(name: &str) -> Ident {
    Ident::new(&name.to_shouty_snake_case(), Span::call_site())
}

/// An enum variant's name for a text of the wire.
///
/// `++` reads as `PP`, as the samplers are called in code (`DPM++ 2M` is `Dpmpp2m`), a single `+` as `Plus`. A leading
/// digit gets an `X`; a text without letters or digits is `Empty`.
pub fn variant_name(text: &str) -> Ident {
    let words = text.replace("++", "PP").replace('+', " plus ").replace(|c: char| !c.is_alphanumeric(), " ");
    let camel: String = words.split_whitespace().map(|word| word.to_upper_camel_case()).collect();
    let name = match camel.chars().next() {
        None => "Empty".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("X{camel}"),
        Some(_) => camel,
    };
    Ident::new(&name, Span::call_site())
}

/// A crate-wide name for a document's trait: `imgopen-extras` becomes `ImgOpenExtras`.
pub fn trait_name(document: &str) -> Ident {
    let rest = document.strip_prefix(crate::document::source::VENDOR).unwrap_or(document);
    Ident::new(&format!("ImgOpen{}", rest.to_upper_camel_case()), Span::call_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_read_well() {
        for (text, expected) in [
            ("DPM++ 2M Karras", "Dpmpp2mKarras"),
            ("DPM2 a", "Dpm2A"),
            ("Euler a", "EulerA"),
            ("R-ESRGAN 4x+", "REsrgan4xPlus"),
            ("4x-UltraSharp", "X4xUltraSharp"),
            ("hair/change", "HairChange"),
            ("comfyui/text2image", "ComfyuiText2image"),
            ("AdamW8bit", "AdamW8bit"),
            ("SGDNesterov8bit", "SgdNesterov8bit"),
            ("bottom-right", "BottomRight"),
            ("SD 1.5", "Sd15"),
            ("", "Empty"),
        ] {
            assert_eq!(variant_name(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn fields_are_snake_case_and_never_keywords() {
        for (name, expected) in
            [("maxEpochs", "max_epochs"), ("CLIP_stop_at_last_layers", "clip_stop_at_last_layers"), ("type", "type_")]
        {
            assert_eq!(field_name(name).to_string(), expected);
        }
        for keyword in ["self", "crate", "super", "async", "gen", "try", "abstract"] {
            assert_eq!(field_name(keyword).to_string(), format!("{keyword}_"));
        }
    }

    #[test]
    fn a_document_names_its_trait() {
        assert_eq!(trait_name("imgopen").to_string(), "ImgOpen");
        assert_eq!(trait_name("imgopen-extras").to_string(), "ImgOpenExtras");
    }
}
