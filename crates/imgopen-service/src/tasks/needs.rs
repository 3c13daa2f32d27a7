//! What a task needs to be run: which engine it goes to, and in which pool its run counts.

use std::num::NonZeroUsize;

use imgopen_engines::{Choice, Engine, Grade, Registry, Unavailable};
use serde_json::{Value, json};

use crate::context::Context;
use crate::dispatch::Pool;
use crate::settings::Settings;

/// What marks tasks with directives for the sandbox.
const SANDBOX: &str = "sandbox/";

/// What a worker must be able to do to run a task. As text it is the operation's id, with `sandbox/` before it if the task
/// is for the sandbox, and `:` and the model after it if the request names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The operation's id.
    pub operation: &'a str,
    /// The model that the request names.
    pub model: Option<&'a str>,
    /// Whether the task has directives for the sandbox.
    pub is_for_sandbox: bool,
}

impl<'a> Needs<'a> {
    /// Reads the text of a row.
    pub fn parse(text: &'a str) -> Self {
        let (is_for_sandbox, rest) = match text.strip_prefix(SANDBOX) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        match rest.split_once(':') {
            Some((operation, model)) => Self { operation, model: Some(model), is_for_sandbox },
            None => Self { operation: rest, model: None, is_for_sandbox },
        }
    }

    /// Writes the text of a row.
    pub fn to_text(self) -> String {
        let sandbox = if self.is_for_sandbox { SANDBOX } else { "" };
        let (separator, model) = self.model.map_or(("", ""), |model| (":", model));
        format!("{sandbox}{}{separator}{model}", self.operation)
    }

    /// Returns the engine for such a task. One with directives goes to the sandbox, whatever better engine there is.
    pub fn choose(self, engines: &Registry) -> Result<Choice, Unavailable> {
        if self.is_for_sandbox {
            let sandbox =
                engines.offers(self.operation).into_iter().find(|choice| choice.offer.grade == Grade::Sandbox);
            if let Some(sandbox) = sandbox {
                return Ok(sandbox);
            }
        }
        engines.pick(self.operation, self.model)
    }

    /// Returns the index of the pool that the run will count in.
    pub fn pool(self, context: &Context) -> usize {
        // Without an engine, the run fails in any pool.
        self.choose(&context.engines).map_or(0, |choice| context.dispatch.pool_of(choice.engine.name()))
    }
}

/// Returns the slots that an engine has of its own; `None` if its runs count among the workers.
fn own_slots(_: &dyn Engine) -> Option<NonZeroUsize> {
    None
}

/// Returns the pools: first the workers, which most engines share, then those of engines with slots of their own.
pub fn pools(engines: &Registry, settings: &Settings) -> Vec<Pool> {
    let pool = |engine: Option<String>, slots: usize| {
        let running_per_key = settings.running_per_key(slots);
        Pool { engine, slots, running_per_key }
    };
    let own = engines.engines().iter().filter_map(|engine| {
        let slots = own_slots(engine.as_ref())?;
        Some(pool(Some(engine.name().to_owned()), slots.get()))
    });
    std::iter::once(pool(None, settings.workers)).chain(own).collect()
}

/// Returns the options of a task with these directives.
pub fn options(directives: Option<&str>) -> Option<Value> {
    directives.map(|directives| json!({ "sandbox": directives }))
}

/// Returns the directives for the sandbox among a task's options.
pub fn directives(options: Option<&Value>) -> Option<&str> {
    options?.get("sandbox")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_back() {
        for (text, operation, model, is_for_sandbox) in [
            ("enlarge_image", "enlarge_image", None, false),
            ("text_to_image:a:b/c.safetensors", "text_to_image", Some("a:b/c.safetensors"), false),
            ("sandbox/text_to_image:m", "text_to_image", Some("m"), true),
        ] {
            let needs = Needs { operation, model, is_for_sandbox };
            assert_eq!((Needs::parse(text), needs.to_text().as_str()), (needs, text));
        }
    }
}
