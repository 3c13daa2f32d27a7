//! Engines as operators see them: those of the same name in several processes are one.

use imgopen_types::Operation;

use crate::engine::BackendStatus;
use crate::offer::{FieldValues, Models, Offer};
use crate::registry::Registry;

/// An engine with what it offers for an operation, in all processes that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its offer: the models and values of all processes, away only if it is in each.
    pub offer: Offer,
    /// The names of the networks that it has for the operation.
    pub nets: Vec<String>,
    /// The programs that it drives.
    pub backends: Vec<BackendStatus>,
}

impl Registry {
    /// Returns the engines that offer the operation, the best first, each name once for each grade.
    pub fn described(&self, operation: &'static Operation) -> Vec<Described> {
        let mut described: Vec<Described> = Vec::new();
        for choice in self.offers(operation.id) {
            let (name, nets) = (choice.engine.name().to_owned(), choice.engine.nets(operation));
            let next = Described { name, nets, backends: choice.engine.backends(), offer: choice.offer };
            let is_same = |known: &&mut Described| known.name == next.name && known.offer.grade == next.offer.grade;
            match described.iter_mut().find(is_same) {
                Some(known) => known.add(next),
                None => described.push(next),
            }
        }
        described
    }
}

impl Described {
    fn add(&mut self, other: Self) {
        let Self { offer, nets, backends, .. } = other;
        let own = &mut self.offer;
        match (&mut own.models, offer.models) {
            (Models::Listed(own), Models::Listed(models)) => {
                extend(own, models, |one, other| (one.kind, &one.name) == (other.kind, &other.name));
            }
            (own, _) => *own = Models::Any,
        }
        for FieldValues { field, values } in offer.values {
            match own.values.iter_mut().find(|known| known.field == field) {
                Some(known) => extend(&mut known.values, values, PartialEq::eq),
                None => own.values.push(FieldValues { field, values }),
            }
        }
        own.away = own.away.take().filter(|_| offer.away.is_some());
        own.is_known |= offer.is_known;
        own.prepares_only &= offer.prepares_only;
        extend(&mut self.nets, nets, PartialEq::eq);
        extend(&mut self.backends, backends, |one, other| one.name == other.name);
    }
}

/// Adds what is not there yet.
fn extend<T>(own: &mut Vec<T>, others: Vec<T>, is_same: impl Fn(&T, &T) -> bool) {
    for other in others {
        if !own.iter().any(|known| is_same(known, &other)) {
            own.push(other);
        }
    }
}
