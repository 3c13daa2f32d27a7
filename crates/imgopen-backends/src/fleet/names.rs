//! The names of back ends.

use std::collections::HashSet;

use imgopen_engine::Devices;

use crate::kind::Kind;
use crate::settings::BackendSettings;

/// Names the back ends that have no name by their kinds, in their order: `comfyui`, `comfyui-2`, and so on. To be called before
/// their engines are created.
///
/// # Errors
///
/// Says which name is given twice, or is that of the trainer, with which a back end may share a device.
pub fn name_all(backends: &mut [(Kind, BackendSettings)]) -> Result<(), String> {
    let mut names = HashSet::new();
    for name in backends.iter().filter_map(|(_, settings)| settings.name.as_ref()) {
        if name == Devices::TRAINER {
            return Err(format!(
                "a back end has the name `{name}`, which is that of the trainer; give it another `name`"
            ));
        }
        if !names.insert(name.clone()) {
            return Err(taken(name));
        }
    }
    for (kind, settings) in backends.iter_mut().filter(|(_, settings)| settings.name.is_none()) {
        let (mut name, mut number) = (kind.to_string(), 1);
        while !names.insert(name.clone()) {
            number += 1;
            name = format!("{kind}-{number}");
        }
        settings.name = Some(name);
    }
    Ok(())
}

/// What is wrong with a name that two back ends have.
pub(super) fn taken(name: &str) -> String {
    format!("two back ends have the name `{name}`; give each a `name` of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: Option<&str>) -> BackendSettings {
        let settings = BackendSettings::new("http://127.0.0.1:8188".parse().unwrap());
        BackendSettings { name: name.map(str::to_owned), ..settings }
    }

    #[test]
    fn names_are_filled_in_by_kind_and_order() {
        let given =
            [(Kind::ComfyUi, None), (Kind::SdWebui, None), (Kind::ComfyUi, Some("comfyui-2")), (Kind::ComfyUi, None)];
        let mut all = given.map(|(kind, name)| (kind, settings(name)));
        name_all(&mut all).unwrap();
        let names = all.map(|(_, settings)| settings.name.unwrap());
        assert_eq!(names, ["comfyui", "sd-webui", "comfyui-2", "comfyui-3"]);
    }

    #[test]
    fn a_name_that_is_given_twice_is_reported() {
        let mut all = [(Kind::ComfyUi, settings(Some("gpu"))), (Kind::SdWebui, settings(Some("gpu")))];
        assert!(name_all(&mut all).unwrap_err().starts_with("two back ends have the name `gpu`"));
    }

    #[test]
    fn no_back_end_has_the_name_of_the_trainer() {
        let mut all = [(Kind::ComfyUi, settings(Some("trainer")))];
        let problem = "a back end has the name `trainer`, which is that of the trainer; give it another `name`";
        assert_eq!(name_all(&mut all), Err(problem.to_owned()));
    }
}
