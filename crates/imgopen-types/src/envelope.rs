//! The envelope around every answer: `{code, msg, data}`.

use crate::wire::Wire;

/// The `code` of a success. It is a text, not a number.
pub const SUCCESS_CODE: &str = "200";

/// The `msg` of a success.
pub const SUCCESS_MSG: &str = "success";

/// A success answer of the API.
pub trait Answer: Wire {
    /// What its `data` holds; `()` where there is none.
    type Data;

    /// `"200"` for a success; anything else is an error, whatever the HTTP status.
    fn code(&self) -> &str;

    /// The text of the outcome.
    fn msg(&self) -> &str;

    /// Makes a success with that data.
    fn success(data: Self::Data) -> Self;

    /// The data, if the answer has it. (One operation, prompt expansion, publishes it as optional.)
    fn into_data(self) -> Option<Self::Data>;
}
