//! A source of settings as the service reads it.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::flags::BACKENDS;
use super::messages::source;
use crate::args::address;
use crate::failure::Failure;

/// The setting with the address to listen on.
const LISTEN: &str = "listen";

/// A source without the settings of back ends, and with the address to listen on resolved.
pub struct OfService<P>(pub P);

impl<P: Provider> Provider for OfService<P> {
    fn metadata(&self) -> Metadata {
        self.0.metadata()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut data = self.0.data()?;
        for settings in data.values_mut() {
            settings.remove(BACKENDS);
            // What is wrong does not matter if another source has the last word.
            if let Some(Value::String(_, text)) = settings.get_mut(LISTEN)
                && let Ok(address) = address::listen(text)
            {
                *text = address.to_string();
            }
        }
        Ok(data)
    }
}

/// Checks the address that is in force.
///
/// # Errors
///
/// Names its source, and says what would be right.
pub fn check_listen(settings: &Figment) -> Result<(), Failure> {
    let Ok(Value::String(_, text)) = settings.find_value(LISTEN) else { return Ok(()) };
    let from = settings.find_metadata(LISTEN).map_or_else(|| "default".to_owned(), source);
    let wrong = |problem: String| Failure::usage(format!("the setting `{LISTEN}` ({from}): {problem}"));
    address::listen(&text).map(drop).map_err(wrong)
}
