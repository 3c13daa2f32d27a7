//! URLs as messages show them.

use std::fmt;

use url::Url;

/// A URL as messages show it: without user name, password, query and fragment, which may contain secrets, and truncated if
/// it is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownUrl(pub(crate) String);

impl ShownUrl {
    const LONGEST: usize = 200;

    /// Shows a text that may not be a URL.
    pub(crate) fn of_text(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) if url.has_host() => Self::of(&url),
            // Without parsing there is no way to know where user information ends, so nothing of the text is safe to show.
            _ if text.contains('@') => Self("the given text".to_owned()),
            _ => Self::cut(&format!("{:?}", text.split(['?', '#']).next().unwrap_or_default())),
        }
    }

    /// Shows the beginning of a text that is too long to parse.
    pub(crate) fn of_start(text: &str) -> Self {
        Self::of_text(text.char_indices().nth(Self::LONGEST).map_or(text, |(end, _)| &text[..end]))
    }

    /// Shows a URL.
    pub(crate) fn of(url: &Url) -> Self {
        let mut shown = url.clone();
        // These fail only for URLs that cannot have any.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        shown.set_query(url.query().map(|_| ""));
        let text = shown.as_str();
        Self::cut(&if url.query().is_some() { format!("{text}…") } else { text.to_owned() })
    }

    fn cut(text: &str) -> Self {
        match text.char_indices().nth(Self::LONGEST) {
            Some((end, _)) => Self(format!("{}…", &text[..end])),
            None => Self(text.to_owned()),
        }
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
