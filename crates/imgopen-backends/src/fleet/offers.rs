//! What a fleet offers: what its members offer together.

use imgopen_engine::{FieldValues, Inputs, Model, Models, Offer};
use imgopen_types::Operation;

/// The offers of a member.
#[derive(Debug)]
pub(super) struct OfMember {
    pub name: String,
    pub offers: Vec<Offer>,
}

impl OfMember {
    /// Returns the offer for an operation and a model.
    pub(super) fn find(&self, operation: &Operation, model: Option<&str>) -> Option<&Offer> {
        let is_it =
            |offer: &&Offer| *offer.operation == *operation && model.is_none_or(|model| offer.models.has(model));
        self.offers.iter().find(is_it)
    }
}

/// Returns why a member is away, with its name.
pub(super) fn named(name: &str, reason: &str) -> String {
    let name = format!("`{name}`");
    if reason.contains(&name) { reason.to_owned() } else { format!("the back end {name} is away: {reason}") }
}

/// Returns one offer for each operation, the first to be offered first.
///
/// Members that have not answered yet may have any model. Beside others, they have an offer by themselves, so that a request for
/// a model that the others lack learns who may have it.
pub(super) fn union(members: &[OfMember]) -> Vec<Offer> {
    let mut operations: Vec<&'static Operation> = Vec::new();
    for offer in members.iter().flat_map(|member| &member.offers) {
        if !operations.contains(&offer.operation) {
            operations.push(offer.operation);
        }
    }
    operations.into_iter().flat_map(|operation| of_operation(operation, members)).collect()
}

fn of_operation(operation: &'static Operation, members: &[OfMember]) -> Vec<Offer> {
    let of = |member: &'_ OfMember| {
        let own = member.offers.iter().filter(|offer| *offer.operation == *operation);
        own.map(|offer| (member.name.clone(), offer.clone())).collect::<Vec<_>>()
    };
    let (known, unknown): (Vec<_>, Vec<_>) = members.iter().flat_map(of).partition(|(_, offer)| offer.is_known);
    if known.is_empty() {
        return merged(operation, unknown).into_iter().collect();
    }
    let known = merged(operation, known);
    let unknown = match (&known, operation.model) {
        (Some(known), Some(_)) => merged(operation, unknown).map(|offer| Offer { grade: known.grade, ..offer }),
        _ => None,
    };
    known.into_iter().chain(unknown).collect()
}

/// Returns what these members offer together. It is away if all of them are.
fn merged(operation: &'static Operation, offers: Vec<(String, Offer)>) -> Option<Offer> {
    let (there, away): (Vec<_>, Vec<_>) = offers.iter().partition(|(_, offer)| offer.away.is_none());
    // What is away decides only if nothing is there.
    let deciding = if there.is_empty() { &away } else { &there };
    let grade = deciding.iter().map(|(_, offer)| offer.grade).max()?;
    let reasons = away.iter().filter_map(|(name, offer)| Some(named(name, offer.away.as_ref()?)));
    Some(Offer {
        models: models(offers.iter().map(|(_, offer)| &offer.models)),
        inputs: inputs(deciding.iter().map(|(_, offer)| offer.inputs)),
        values: values(deciding.iter().flat_map(|(_, offer)| &offer.values)),
        away: there.is_empty().then(|| reasons.collect::<Vec<_>>().join("; ")),
        is_known: deciding.iter().any(|(_, offer)| offer.is_known),
        prepares_only: deciding.iter().all(|(_, offer)| offer.prepares_only),
        ..Offer::new(operation, grade)
    })
}

fn models<'a>(all: impl Iterator<Item = &'a Models>) -> Models {
    let mut listed = Vec::new();
    for models in all {
        match models {
            Models::Any => return Models::Any,
            Models::Listed(models) => listed.extend(models.iter().cloned()),
        }
    }
    Models::Listed(distinct(listed))
}

/// Returns the models, each once.
pub(super) fn distinct(models: Vec<Model>) -> Vec<Model> {
    let mut names = std::collections::HashSet::new();
    models.into_iter().filter(|model| names.insert((model.kind, model.name.clone()))).collect()
}

/// What serves all of them.
fn inputs(all: impl Iterator<Item = Inputs>) -> Inputs {
    let rank = |inputs: &Inputs| match inputs {
        Inputs::Unused => 0,
        Inputs::OnDemand => 1,
        Inputs::Fetched => 2,
    };
    all.max_by_key(rank).unwrap_or(Inputs::Fetched)
}

fn values<'a>(all: impl Iterator<Item = &'a FieldValues>) -> Vec<FieldValues> {
    let mut merged: Vec<FieldValues> = Vec::new();
    for FieldValues { field, values } in all {
        let Some(known) = merged.iter_mut().find(|known| known.field == *field) else {
            merged.push(FieldValues { field, values: values.clone() });
            continue;
        };
        for value in values {
            if !known.values.contains(value) {
                known.values.push(value.clone());
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use imgopen_engine::{Grade, ModelKind};
    use imgopen_types::operations::{DESCRIBE_IMAGE, PREVIEW_CONTROLNET, TEXT_TO_IMAGE};

    use super::*;

    fn member(name: &str, offers: Vec<Offer>) -> OfMember {
        OfMember { name: name.to_owned(), offers }
    }

    fn drawing(models: &[&str], away: Option<&str>) -> Offer {
        let model = |name: &&str| Model::new(ModelKind::Checkpoint, *name, "");
        let models = Models::Listed(models.iter().map(model).collect());
        Offer { models, away: away.map(str::to_owned), ..Offer::new(&TEXT_TO_IMAGE, Grade::Neural) }
    }

    #[test]
    fn models_of_all_members_are_offered_and_one_that_is_there_is_enough() {
        let offers = union(&[
            member("one", vec![drawing(&["a", "b"], Some("it hangs"))]),
            member("two", vec![drawing(&["b", "c"], None), Offer::new(&DESCRIBE_IMAGE, Grade::Neural)]),
        ]);
        assert_eq!(
            offers.iter().map(|offer| offer.operation.id).collect::<Vec<_>>(),
            ["text_to_image", "describe_image"]
        );
        let models = ["a", "b", "c", "d"].map(|name| offers[0].models.has(name));
        assert_eq!((models, &offers[0].away), ([true, true, true, false], &None));
    }

    #[test]
    fn all_that_are_away_are_named() {
        let offers = union(&[
            member("one", vec![drawing(&["a"], Some("it hangs"))]),
            member("two", vec![drawing(&["a"], Some("the back end `two` rejects the login"))]),
        ]);
        let reason = "the back end `one` is away: it hangs; the back end `two` rejects the login";
        assert_eq!((offers.len(), offers[0].away.as_deref()), (1, Some(reason)));
    }

    #[test]
    fn a_member_that_has_not_answered_yet_may_have_what_others_lack() {
        let unknown = |operation| {
            let away = Some("it has not answered yet".to_owned());
            Offer { away, is_known: false, ..Offer::new(operation, Grade::Neural) }
        };
        let new = || member("new", vec![unknown(&TEXT_TO_IMAGE), unknown(&DESCRIBE_IMAGE)]);
        let describing = Offer::new(&DESCRIBE_IMAGE, Grade::Classical);
        let offers = union(&[member("old", vec![drawing(&["a"], None), describing]), new()]);
        let seen: Vec<_> =
            offers.iter().map(|offer| (offer.operation.id, offer.is_known, offer.models.has("z"))).collect();
        assert_eq!(
            seen,
            [("text_to_image", true, false), ("text_to_image", false, true), ("describe_image", true, true)]
        );
        let alone = union(&[new()]);
        assert!(alone.len() == 2 && alone.iter().all(|offer| !offer.is_known && offer.away.is_some()));
    }

    #[test]
    fn values_of_fields_are_merged() {
        let preview = |values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let values = vec![FieldValues { field: "preprocessor", values }];
            Offer { values, ..Offer::new(&PREVIEW_CONTROLNET, Grade::Neural) }
        };
        let offers =
            union(&[member("one", vec![preview(&["canny"])]), member("two", vec![preview(&["canny", "mlsd"])])]);
        assert_eq!(offers[0].values[0].values, ["canny", "mlsd"]);
    }
}
