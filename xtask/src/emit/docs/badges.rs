//! Badges: how well a thing is known.

use maud::{Markup, html};

use crate::model::Provenance;

/// The mark of that provenance.
pub fn badge(provenance: Provenance) -> Markup {
    let (class, word) = match provenance {
        Provenance::Published => ("published", "published"),
        Provenance::Partial => ("partial", "partial"),
        Provenance::Observed => ("observed", "observed"),
        Provenance::Inferred => ("inferred", "inferred"),
    };
    html! { span .badge .(class) { (word) } }
}

/// The mark, unless the thing is simply published.
pub fn badge_unless_published(provenance: Provenance) -> Markup {
    html! { @if provenance != Provenance::Published { (badge(provenance)) } }
}
