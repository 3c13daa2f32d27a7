//! The needs of a task: they decide its engine, and the pool that its run counts in.

use imgopen_engine::{Choice, Grade, Inputs, Offer, Registry, Slots, TaskOptions, Unavailable};
use imgopen_store::KeyId;
use imgopen_types::{Operation, operations};
use serde_json::Value;

use super::inputs;
use super::terms::Terms;
use crate::context::Context;
use crate::dispatch::{Begin, Pool, Room, Slot};
use crate::settings::Settings;

/// The prefix of tasks with directives for the sandbox.
const SANDBOX: &str = "sandbox/";

/// What a worker must be able to do to run a task. As text it is the operation's id, with `sandbox/` before it if the task
/// is for the sandbox, and `:` and the model after it if the request names one. [`Terms`] stand behind the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs<'a> {
    /// The operation's id.
    pub operation: &'a str,
    /// The model that the request names.
    pub model: Option<&'a str>,
    /// Whether the task has directives for the sandbox.
    pub is_for_sandbox: bool,
    /// What a process must have, of several that share a database.
    pub terms: Terms,
}

impl<'a> Needs<'a> {
    /// Reads the text of a row.
    pub fn parse(text: &'a str) -> Self {
        let (is_for_sandbox, rest) = match text.strip_prefix(SANDBOX) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (head, model) = match rest.split_once(':') {
            Some((head, model)) => (head, Some(model)),
            None => (rest, None),
        };
        let (operation, terms) = head.split_once('+').unwrap_or((head, ""));
        Self { operation, model, is_for_sandbox, terms: Terms::parse(terms) }
    }

    /// Writes the text of a row.
    pub fn to_text(&self) -> String {
        let sandbox = if self.is_for_sandbox { SANDBOX } else { "" };
        let (separator, model) = self.model.map_or(("", ""), |model| (":", model));
        format!("{sandbox}{}{}{separator}{model}", self.operation, self.terms)
    }

    /// Returns the engine that is there for such a task, and has what the task was accepted for.
    pub fn choose(&self, engines: &Registry) -> Result<Choice, Unavailable> {
        let choice = self.find(engines)?.there()?;
        if self.terms.are_met(engines, &choice) {
            return Ok(choice);
        }
        Err(Unavailable::Away {
            operation: self.operation.to_owned(),
            engine: choice.engine.name().to_owned(),
            reason: "it lacks what the task was accepted for".to_owned(),
        })
    }

    /// Returns the engine for such a task, even if it is away. Directives select the sandbox even if there is a better engine.
    pub fn find(&self, engines: &Registry) -> Result<Choice, Unavailable> {
        if !self.is_for_sandbox {
            return engines.find_with(self.operation, self.model, &self.terms.named);
        }
        let is_sandbox = |offer: &Offer| offer.grade == Grade::Sandbox;
        let sandbox = engines.offers(self.operation).into_iter().find(|choice| is_sandbox(&choice.offer));
        if let Some(sandbox) = sandbox {
            return Ok(sandbox);
        }
        // A sandbox that leaves the operation to others, as it does with trainings, ignores directives.
        if has_sandbox(engines) {
            return engines.find(self.operation, self.model);
        }
        Err(Unavailable::Away {
            operation: self.operation.to_owned(),
            engine: "sandbox".to_owned(),
            reason: "the service was started without `--sandbox`".to_owned(),
        })
    }

    /// Returns where a task of a key waits if this process can run it, of several that share a database. An engine that is away
    /// is waited for unless another process has one that is there.
    pub fn slot_here(&self, context: &Context, key: KeyId) -> Option<Slot> {
        let engines = &context.engines;
        let choice = self.find(engines).ok().filter(|choice| self.terms.are_met(engines, choice))?;
        if choice.offer.away.is_some() && self.choose(&engines.elsewhere()).is_ok() {
            return None;
        }
        Some(self.slot_with(context, key, &choice))
    }

    /// Returns where a task of a key waits, and how its run will begin.
    pub fn slot(&self, context: &Context, key: KeyId) -> Slot {
        match self.find(&context.engines) {
            Ok(choice) => self.slot_with(context, key, &choice),
            // Without an engine the task waits for one, in any pool.
            Err(_) => Slot { pool: 0, key, needs: self.to_text(), begin: Begin::Working },
        }
    }

    /// Returns the same if the engine is chosen already.
    pub fn slot_with(&self, context: &Context, key: KeyId, choice: &Choice) -> Slot {
        let fetches =
            choice.offer.inputs == Inputs::Fetched && inputs::may_name_pictures(choice.offer.operation.request);
        let begin = if fetches { Begin::Fetching } else { Begin::Working };
        Slot { pool: context.dispatch.pool_of(choice.engine.pool()), key, needs: self.to_text(), begin }
    }
}

/// Whether any operation is offered by a sandbox.
fn has_sandbox(engines: &Registry) -> bool {
    let offers = |operation: &&Operation| engines.offers(operation.id);
    operations::ALL.iter().flat_map(offers).any(|choice| choice.offer.grade == Grade::Sandbox)
}

/// Returns the pools: first the workers, which most engines share, then those of engines with their own slots. An engine that has
/// another one do the work counts in the pool of that one.
pub fn pools(engines: &Registry, settings: &Settings) -> Vec<Pool> {
    let pool = |engine: Option<String>, slots: usize| {
        let fetching = settings.fetching(slots);
        let running_per_key = settings.running_per_key(slots);
        Pool { engine, slots, fetching, running_per_key }
    };
    let mut pools = vec![pool(None, settings.workers)];
    for engine in engines.engines() {
        let name = engine.pool();
        if let Slots::Own(slots) = engine.slots()
            && !pools.iter().any(|known| known.engine.as_deref() == Some(name))
        {
            pools.push(pool(Some(name.to_owned()), slots.get()));
        }
    }
    pools
}

/// Returns how the engines with their own slots are asked whether they have room for a task.
pub fn room(engines: Registry) -> Room {
    Room::new(move |pool, needs| {
        let Needs { operation, model, .. } = Needs::parse(needs);
        let operation = operations::ALL.iter().find(|known| known.id == operation)?;
        let mut of_pool = engines.engines().iter().filter(|engine| engine.pool() == pool);
        of_pool.find_map(|engine| engine.free_places(operation, model))
    })
}

/// Returns what the operations that an operator requires lack now in all processes, in words for callers.
pub fn lacking(engines: &Registry, required: &[String]) -> Vec<String> {
    let engines = engines.everywhere();
    let problem = |id: &String| {
        let problem = match engines.pick(id, None) {
            Ok(choice) if choice.offer.prepares_only => format!("no engine is configured that finishes `{id}`"),
            Ok(_) => return None,
            Err(unavailable) => unavailable.to_string(),
        };
        Some(format!("the operation `{id}` is required: {problem}"))
    };
    required.iter().filter_map(problem).collect()
}

/// Returns a task's options as its row holds them; `None` for the defaults.
pub fn write_options(options: &TaskOptions) -> Result<Option<Value>, serde_json::Error> {
    Ok(Some(serde_json::to_value(options)?).filter(|_| *options != TaskOptions::default()))
}

/// Reads the options of a task's row.
pub fn read_options(options: Option<&Value>) -> Result<TaskOptions, serde_json::Error> {
    options.cloned().map_or_else(|| Ok(TaskOptions::default()), serde_json::from_value)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::dispatch::Dispatch;
    use futures_util::future::BoxFuture;
    use imgopen_engine::{Engine, EngineError, Job, Monitor, NamedKind, NamedModel, Output};

    /// An engine that takes the only place of `fleet`.
    struct Taker(&'static str, &'static Operation);

    impl Engine for Taker {
        fn name(&self) -> &str {
            self.0
        }

        fn pool(&self) -> &str {
            "fleet"
        }

        fn offers(&self) -> Vec<Offer> {
            vec![Offer::new(self.1, Grade::Neural)]
        }

        fn slots(&self) -> Slots {
            Slots::Own(NonZeroUsize::new(2).unwrap())
        }

        fn free_places(&self, operation: &Operation, _: Option<&str>) -> Option<usize> {
            (*operation == *self.1).then_some(1)
        }

        fn run(&self, _: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
            Box::pin(async { Ok(Output::default()) })
        }
    }

    #[tokio::test]
    async fn engines_that_take_the_same_places_share_a_pool() {
        let inpainter = Taker("fleet-inpaint", &operations::OUTPAINT);
        let engines = Registry::default().with(Taker("fleet", &operations::TEXT_TO_IMAGE)).with(inpainter);
        let pools = pools(&engines, &Settings::default());
        assert_eq!(pools.iter().map(|pool| pool.engine.as_deref()).collect::<Vec<_>>(), [None, Some("fleet")]);
        let dispatch = Dispatch::new(pools, 100).with_room(room(engines));
        assert_eq!(dispatch.pool_of("fleet"), 1);
        for (key, needs) in [("a", "text_to_image"), ("b", "outpaint")] {
            let key = KeyId(key.to_owned());
            dispatch.refill(Slot { pool: 1, key, needs: needs.to_owned(), begin: Begin::Working }, 1);
        }
        let first = dispatch.next(1, Begin::Working).unwrap();
        let starting = dispatch.starting(&first);
        assert!(starting.is_some());
        assert_eq!(dispatch.next(1, Begin::Working), None, "the place is that of the first, which has not begun");
        drop(starting);
        let second = dispatch.next(1, Begin::Working).unwrap();
        assert_ne!(second.needs, first.needs);
    }

    #[test]
    fn needs_are_read_back() {
        for (text, operation, model, is_for_sandbox) in [
            ("enlarge_image", "enlarge_image", None, false),
            ("text_to_image:a:b/c.safetensors", "text_to_image", Some("a:b/c.safetensors"), false),
            ("sandbox/text_to_image:m", "text_to_image", Some("m"), true),
        ] {
            let needs = Needs { operation, model, is_for_sandbox, terms: Terms::default() };
            assert_eq!((Needs::parse(text), needs.to_text().as_str()), (needs, text));
        }
    }

    #[test]
    fn terms_stand_between_the_operation_and_the_model() {
        let text = "sandbox/text_to_image+grade=neural+lora=a%2Fb%3A50%25+vae=c%2Bd:x:y+z=w.safetensors";
        let needs = Needs::parse(text);
        assert_eq!((needs.operation, needs.model), ("text_to_image", Some("x:y+z=w.safetensors")));
        let named = [(NamedKind::Lora, "a/b:50%"), (NamedKind::Vae, "c+d")];
        let named = named.map(|(kind, name)| NamedModel { kind, name: name.to_owned() }).to_vec();
        assert_eq!(needs.terms, Terms { grade: Some(Grade::Neural), named, ..Terms::default() });
        assert_eq!(needs.to_text(), text);
    }

    #[tokio::test]
    async fn a_process_without_what_a_task_was_accepted_for_does_not_run_it() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        let engines = Registry::default().with(Taker("fleet", &operations::TEXT_TO_IMAGE));
        let service = crate::app::Service::open(settings, imgopen_store::Clock::system(), engines).await.unwrap();
        let context = service.context();
        let can = |text: &str| {
            let needs = Needs::parse(text);
            let here = needs.slot_here(&context, KeyId("a".to_owned())).is_some();
            assert_eq!(needs.choose(&context.engines).is_ok(), here, "{text}");
            here
        };
        for text in ["text_to_image", "text_to_image:any", "text_to_image+grade=neural", "text_to_image+grade=draft"] {
            assert!(can(text), "{text}");
        }
        // The last is of a newer version.
        for text in ["outpaint", "text_to_image+lora=ink", "submit_training+finishes", "text_to_image+colour=red"] {
            assert!(!can(text), "{text}");
        }
        assert!(can("submit_training"));
    }
}
