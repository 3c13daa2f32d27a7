//! Which way each component travels: found by following the references of requests, answers and callbacks.

use std::collections::BTreeSet;

use super::effect::Flow;
use crate::document::contents::{Document, references};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::source::Source;

/// The components that requests and answers lead to, by pointer.
#[derive(Default)]
pub struct Usage {
    requests: BTreeSet<String>,
    answers: BTreeSet<String>,
}

impl Usage {
    /// How the components of both documents are used. One that has changed its use counts for the old and the new one.
    pub fn of(sources: [&Source; 2]) -> Self {
        let mut usage = Self::default();
        for source in sources {
            let document = Document::new(source);
            for operation in &document.operations {
                usage.add_call(&document, &operation.place, Flow::REQUEST);
                for push in operation.pushes() {
                    usage.add_call(&document, &push, Flow::ANSWER);
                }
            }
        }
        usage
    }

    /// The way of the component at the pointer. One that nobody uses is taken to travel both ways, to be safe.
    pub fn flow(&self, pointer: &str) -> Flow {
        let flow = Flow { request: self.requests.contains(pointer), answer: self.answers.contains(pointer) };
        if flow.request || flow.answer { flow } else { Flow::BOTH }
    }

    /// Notes what a call sends and gets back; the body that a callback pushes travels like an answer.
    fn add_call(&mut self, document: &Document<'_>, call: &Cursor<'_>, flow: Flow) {
        let body = call.get("requestBody").into_iter().map(|body| (Place::Body, body));
        let parameters = call.items_of("parameters").into_iter().map(|parameter| (Place::Parameter, parameter));
        let responses = call.members_of("responses").into_iter().map(|(_, response)| (Place::Response, response));
        self.add(document, body.chain(parameters), flow);
        self.add(document, responses, flow.turned());
    }

    fn add<'a>(&mut self, document: &Document<'a>, parts: impl Iterator<Item = (Place, Cursor<'a>)>, flow: Flow) {
        let found: Vec<_> = parts.flat_map(|(place, part)| references(place, &part)).collect();
        let reached = document.reachable(found.iter().filter_map(|reference| reference.node.text()));
        let set = if flow.request { &mut self.requests } else { &mut self.answers };
        set.extend(reached.into_iter().map(str::to_owned));
    }
}
