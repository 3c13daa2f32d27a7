//! Logs what is wrong with workflows: once for each problem, when the server's lists show it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use super::lists::Lists;
use super::template::Template;

/// The problems of workflows.
#[derive(Debug)]
pub(super) struct Problems {
    /// The name of the back end.
    name: String,
    templates: Vec<Template>,
    /// Those that were logged, by operation.
    logged: Mutex<BTreeMap<&'static str, String>>,
}

impl Problems {
    pub(super) fn of(name: &str, templates: &[Template]) -> Self {
        Self { name: name.to_owned(), templates: templates.to_vec(), logged: Mutex::default() }
    }

    /// Logs what has changed with these lists.
    pub(super) fn log(&self, lists: &Lists) {
        let now = self.templates.iter().map(|template| (template.operation.id, template.problem(lists)));
        for (operation, problem) in self.changed(now) {
            match problem {
                Some(problem) => {
                    warn!(
                        backend = self.name,
                        operation, problem, "a workflow cannot be run until it has what it needs"
                    );
                }
                None => info!(backend = self.name, operation, "a workflow can be run again"),
            }
        }
    }

    /// Returns the problems that are not those of before, and `None` for those that are over.
    fn changed(
        &self,
        now: impl Iterator<Item = (&'static str, Option<String>)>,
    ) -> Vec<(&'static str, Option<String>)> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        for (operation, problem) in now {
            let earlier = match &problem {
                Some(problem) => logged.insert(operation, problem.clone()),
                None => logged.remove(operation),
            };
            if earlier != problem {
                changed.push((operation, problem));
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_logged_when_it_comes_changes_and_goes() {
        let problems = Problems::of("mine", &[]);
        let changed = |problem: Option<&str>| {
            let now = [("text_to_image", problem.map(str::to_owned)), ("controlnet", None)];
            let changed = problems.changed(now.into_iter());
            assert!(changed.iter().all(|(operation, _)| *operation == "text_to_image"));
            changed.into_iter().map(|(_, problem)| problem).next()
        };
        assert_eq!(changed(None), None);
        for (problem, said) in [
            (Some("no node"), Some(Some("no node"))),
            (Some("no node"), None),
            (Some("no input"), Some(Some("no input"))),
            (None, Some(None)),
            (None, None),
        ] {
            assert_eq!(changed(problem), said.map(|said| said.map(str::to_owned)));
        }
    }
}
