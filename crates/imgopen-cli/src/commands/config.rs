//! `imgopen config`.

use serde_json::{Value, json};

use crate::args::config::Config;
use crate::output::{print, print_json};
use crate::settings::{self, Listed, Setting};

/// Runs the command.
pub fn run(command: Config, as_json: bool) -> anyhow::Result<()> {
    let Config::Show { serve } = command;
    let listed = settings::list(&serve)?;
    if as_json { print_json(&json(listed)) } else { print(&text(listed)) }
}

fn json(Listed { service, backends }: Listed) -> Value {
    let of_backends = backends.into_iter().enumerate().flat_map(|(index, settings)| {
        let full = move |setting: Setting| Setting { name: format!("backends[{index}].{}", setting.name), ..setting };
        settings.into_iter().map(full)
    });
    let all = service.into_iter().chain(of_backends);
    all.map(|Setting { name, value, source }| json!({"setting": name, "value": value, "source": source})).collect()
}

/// A settings file.
fn text(Listed { service, backends }: Listed) -> String {
    let mut lines: Vec<_> = service.into_iter().map(line).collect();
    for settings in backends {
        lines.push("\n[[backends]]".to_owned());
        lines.extend(settings.into_iter().map(line));
    }
    lines.join("\n")
}

fn line(Setting { name, value, source }: Setting) -> String {
    let line = value.map_or_else(|| format!("# {name} ="), |value| format!("{name} = {value}"));
    format!("{line:<60} # {source}")
}
