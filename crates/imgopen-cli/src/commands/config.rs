//! `imgopen config`.

use serde_json::json;

use crate::args::config::Config;
use crate::output::{print, print_json};
use crate::settings;

/// Runs the command.
pub fn run(command: Config, as_json: bool) -> anyhow::Result<()> {
    let Config::Show { serve } = command;
    let settings = settings::list(&serve)?;
    if as_json {
        let settings = settings.into_iter().map(|setting| {
            let (name, value, source) = (setting.name, setting.value, setting.source);
            json!({"setting": name, "value": value, "source": source})
        });
        return print_json(&settings.collect());
    }
    let lines = settings.into_iter().map(|setting| {
        let (name, source) = (setting.name, setting.source);
        let line = setting.value.map_or_else(|| format!("# {name} ="), |value| format!("{name} = {value}"));
        format!("{line:<60} # {source}")
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
}
