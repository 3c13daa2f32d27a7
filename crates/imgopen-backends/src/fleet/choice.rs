//! Which members can do a job.

use std::sync::Arc;

use imgopen_engine::{EngineError, JobRequest};
use imgopen_types::Operation;
use serde_json::Value;

use super::member::Member;
use super::offers::named;
use super::places::Able;

/// What a job asks for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    request: &'a JobRequest,
    model: Option<String>,
}

/// What the members say about a job.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Those that can do it now.
    pub able: Vec<Able>,
    /// Those that are away and whose lists, when they last answered, have what it needs.
    waited_for: Vec<Absent>,
    /// Those that have not answered yet and do not refuse it for what no such program can do.
    unknown: Vec<Absent>,
    refusals: Vec<EngineError>,
}

#[derive(Debug)]
struct Absent {
    member: usize,
    /// With the member's name.
    reason: String,
}

impl<'a> Wanted<'a> {
    pub(super) fn by(request: &'a JobRequest) -> Result<Self, EngineError> {
        let body: Value = request.view()?;
        Ok(Self { request, model: request.operation().model_of(&body).map(str::to_owned) })
    }

    fn operation(&self) -> &'static Operation {
        self.request.operation()
    }
}

impl Judged {
    /// Has the members judge a job, but for those that have tried it.
    pub(super) fn of(members: &[Arc<Member>], wanted: &Wanted<'_>, tried: &[usize]) -> Self {
        let mut judged = Self::default();
        let members = members.iter().enumerate().filter(|(index, _)| !tried.contains(index));
        for (member, own) in members {
            let offers = own.offers();
            let Some(offer) = offers.find(wanted.operation(), wanted.model.as_deref()) else { continue };
            if let Err(refusal) = own.driver().check(wanted.request) {
                judged.refusals.push(refusal);
                continue;
            }
            match &offer.away {
                None => {
                    let has_loaded = own.driver().has_loaded(wanted.model.as_deref());
                    judged.able.push(Able { member, has_loaded });
                }
                Some(reason) => {
                    let absent = Absent { member, reason: named(own.name(), reason) };
                    let list = if offer.is_known { &mut judged.waited_for } else { &mut judged.unknown };
                    list.push(absent);
                }
            }
        }
        judged
    }

    /// Returns the member to ask about the request. What one refuses for what it lacks is left to another that has it, even if
    /// that one is away; what has not answered yet is asked only if there is no other.
    ///
    /// # Errors
    ///
    /// Why all refuse it, or that no member serves it.
    pub(super) fn first(mut self) -> Result<usize, EngineError> {
        let known = self.able.iter().map(|able| able.member).chain(self.waited_for.iter().map(|absent| absent.member));
        if let Some(member) = known.into_iter().next() {
            return Ok(member);
        }
        match (self.refusal(), self.unknown.first()) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(absent)) => Ok(absent.member),
            (None, None) => Err(unserved()),
        }
    }

    /// Returns the members that can do the job now.
    ///
    /// # Errors
    ///
    /// Why none can: those that could are away, or all refuse it.
    pub(super) fn able(mut self) -> Result<Vec<Able>, EngineError> {
        if !self.able.is_empty() {
            return Ok(self.able);
        }
        if !self.waited_for.is_empty() {
            return Err(away(&self.waited_for));
        }
        Err(match self.refusal() {
            Some(refusal) => refusal,
            None if self.unknown.is_empty() => unserved(),
            None => away(&self.unknown),
        })
    }

    /// Returns the first refusal that is the request's fault, or else the first.
    fn refusal(&mut self) -> Option<EngineError> {
        let is_rejected = |error: &EngineError| matches!(error, EngineError::Rejected { .. });
        let index = self.refusals.iter().position(is_rejected).unwrap_or(0);
        (index < self.refusals.len()).then(|| self.refusals.swap_remove(index))
    }
}

fn away(absent: &[Absent]) -> EngineError {
    let reasons: Vec<_> = absent.iter().map(|absent| absent.reason.as_str()).collect();
    EngineError::Unavailable { reason: reasons.join("; "), retry_after: None }
}

/// Between the choice of the fleet and that of a member, the last one that had the model may have lost it.
fn unserved() -> EngineError {
    let reason = "no back end serves the operation with the requested model any more".to_owned();
    EngineError::Unavailable { reason, retry_after: None }
}
