//! What a call is refused for before its method runs.

/// What a call is refused for before its method runs.
///
/// The answer of a refused call has it among its extensions, so that a layer around the routes can count refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Its keys, with the status 401 or 403.
    Keys,
    /// Its media type, with the status 415.
    MediaType,
    /// The content coding of its body, with the status 415.
    Coding,
    /// The size of its body, with the status 413.
    Size,
    /// The time that its body takes, with the status 408.
    Time,
    /// A body that is not whole, or not JSON, with the status 400.
    Json,
    /// A request that breaks the document's rules, with the status 422.
    Bounds,
}

impl Refusal {
    /// Returns its name in metrics, such as `media_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::MediaType => "media_type",
            Self::Coding => "coding",
            Self::Size => "size",
            Self::Time => "time",
            Self::Json => "json",
            Self::Bounds => "bounds",
        }
    }
}
