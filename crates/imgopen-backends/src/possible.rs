//! What back ends can serve, whichever are there.

use imgopen_types::Operation;
use imgopen_types::operations::CHANGE_HAIRSTYLE;

use crate::kind::Kind;
use crate::{comfyui, inpaint, sd_server, webui};

/// An operation that programs of a kind can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possible {
    /// The kind of program.
    pub kind: Kind,
    /// The operation.
    pub operation: &'static Operation,
    /// What the operator has to set up, beside the address of the program; `None` if that is enough.
    pub needs: Option<&'static str>,
}

/// Returns what each kind of program can serve, in the order of [`Kind::ALL`]. Beside that, ComfyUI serves any operation that makes
/// pictures with a workflow of the operator.
///
/// ```
/// use imgopen_backends::{Kind, possible};
///
/// let possible = possible();
/// let restores = possible.iter().find(|possible| possible.operation.id == "restore_face").unwrap();
/// assert_eq!((restores.kind, restores.needs.is_some()), (Kind::SdWebui, true));
/// ```
pub fn possible() -> Vec<Possible> {
    let of = |kind: Kind| {
        let own = match kind {
            Kind::SdServer => sd_server::possible(),
            Kind::ComfyUi => comfyui::possible(),
            Kind::SdWebui => webui::possible(),
        };
        let inpainted = inpaint::OPERATIONS.into_iter().map(|operation| (operation, Some("the setting `inpaint`")));
        let painted = (&CHANGE_HAIRSTYLE, Some("the setting `inpaint`, and a network that finds people"));
        own.into_iter().chain(inpainted).chain([painted]).map(move |(operation, needs)| Possible {
            kind,
            operation,
            needs,
        })
    };
    Kind::ALL.into_iter().flat_map(of).collect()
}
