//! The settings of back ends. The service does not know them, so they are taken out of what it reads.

use std::path::{Component, Path, PathBuf};

use figment::value::Value;
use figment::{Figment, Source};
use imgopen_backends::BackendSettings;
use serde::Deserialize;

use super::flags::BACKENDS;
use super::messages::{describe, source};
use super::shown::{HIDDEN, Setting, by_name, hide};
use crate::failure::Failure;

/// The settings of all back ends.
#[derive(Debug)]
pub struct Backends {
    /// Those of each.
    pub list: Vec<BackendSettings>,
    /// Where they come from, such as `file imgopen.toml`.
    source: String,
}

/// All settings, of which the others are ignored.
#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    backends: Vec<BackendSettings>,
}

impl Backends {
    /// Reads them. Paths are completed: those in a file are relative to its directory.
    ///
    /// # Errors
    ///
    /// If a setting is unknown or of the wrong kind.
    pub fn read(figment: &Figment) -> anyhow::Result<Self> {
        let Part { backends: mut list } = figment.extract().map_err(|error| Failure::usage(describe(error)))?;
        let metadata = figment.find_metadata(BACKENDS);
        let directory = match metadata.and_then(|metadata| metadata.source.as_ref()) {
            Some(Source::File(file)) => file.parent().unwrap_or(Path::new("")).to_owned(),
            _ => PathBuf::new(),
        };
        list.iter_mut().for_each(|backend| complete(backend, &directory));
        Ok(Self { list, source: metadata.map_or_else(|| "default".to_owned(), source) })
    }

    /// Checks each of them, and that no two have the same name.
    ///
    /// # Errors
    ///
    /// Names the first setting that is invalid.
    pub fn check(&self) -> anyhow::Result<()> {
        for (index, backend) in self.list.iter().enumerate() {
            backend.check().map_err(|problem| Failure::usage(format!("{}: {problem}", self.place(index))))?;
            let Some(name) = &backend.name else { continue };
            if let Some(other) = self.list[..index].iter().position(|other| other.name.as_ref() == Some(name)) {
                let problem = format!("`name`: `{BACKENDS}[{other}]` is named \"{name}\" too; give another name");
                return Err(Failure::usage(format!("{}: {problem}", self.place(index))).into());
            }
        }
        Ok(())
    }

    /// Returns how messages name one of them.
    pub fn place(&self, index: usize) -> String {
        format!("the setting `{BACKENDS}[{index}]` ({})", self.source)
    }

    /// Returns the settings of each that have a value, without secrets.
    ///
    /// # Errors
    ///
    /// If a value cannot be written as TOML.
    pub fn settings(&self, figment: &Figment) -> anyhow::Result<Vec<Vec<Setting>>> {
        let given = figment.find_value(BACKENDS).ok();
        let given = given.as_ref().and_then(Value::as_array).unwrap_or_default();
        let of = |(index, backend): (usize, &BackendSettings)| -> anyhow::Result<Vec<Setting>> {
            let given = given.get(index).and_then(Value::as_dict);
            let mut values = by_name(backend)?;
            if backend.password.is_some() {
                values.insert("password".to_owned(), HIDDEN.into());
            }
            let setting = |(name, value): (String, serde_json::Value)| -> anyhow::Result<Setting> {
                let first = name.split('.').next().unwrap_or_default();
                let is_given = given.is_some_and(|given| given.contains_key(first));
                let source = if is_given { self.source.clone() } else { "default".to_owned() };
                Ok(Setting { name, value: Some(hide(toml::Value::try_from(value)?)), source })
            };
            values.into_iter().map(setting).collect()
        };
        self.list.iter().enumerate().map(of).collect()
    }
}

/// Completes the paths of a back end: relative ones begin in `directory`, but for a program without one, which is looked for as
/// a shell does.
fn complete(backend: &mut BackendSettings, directory: &Path) {
    let complete = |path: &mut PathBuf| {
        let whole = directory.join(&*path);
        *path = std::path::absolute(&whole).unwrap_or(whole);
    };
    let is_named_only = |program: &Path| matches!(program.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    backend.password_file.iter_mut().for_each(complete);
    backend.workflows.values_mut().for_each(complete);
    backend.program.iter_mut().filter(|program| !is_named_only(program)).for_each(complete);
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;
    use imgopen_backends::{BackendSettings, ModelFiles};

    use super::super::{Loaded, list, load};
    use crate::args::serve::Serve;
    use crate::args::{Args, Command};

    fn flags(line: &[&str]) -> Serve {
        match Args::parse_from([&["imgopen", "serve"], line].concat()).command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    /// Loads a file with these back ends.
    fn of_file(text: &str) -> anyhow::Result<Loaded> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imgopen.toml");
        std::fs::write(&file, text).unwrap();
        load(&flags(&["--config", file.to_str().unwrap()]))
    }

    /// Every setting of a back end, and of a model's files, is in one of these tables.
    pub fn all_are_in(backends: &[toml::Value]) {
        let names = |tables: &[toml::Value]| -> BTreeSet<String> {
            tables.iter().flat_map(|table| table.as_table().unwrap().keys().cloned()).collect()
        };
        let models: Vec<_> =
            backends.iter().filter_map(|backend| backend.get("models")?.as_array()).flatten().cloned().collect();
        assert_eq!(names(backends), known(&serde_json::from_str::<BackendSettings>("{\"?\": 1}")));
        assert_eq!(names(&models), known(&serde_json::from_str::<ModelFiles>("{\"?\": 1}")));
    }

    /// Reads the names of settings from the error that an unknown one gets.
    fn known<T: std::fmt::Debug>(read: &serde_json::Result<T>) -> BTreeSet<String> {
        let error = read.as_ref().unwrap_err().to_string();
        let (_, names) = error.split_once("expected").unwrap();
        let names: BTreeSet<_> = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(names.len() > 5, "{error}");
        names
    }

    #[test]
    fn flags_stand_in_place_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imgopen.toml");
        std::fs::write(&file, "workers = 7\n[[backends]]\nurl = \"http://a.example\"\njobs = 2\n").unwrap();
        let config = ["--config", file.to_str().unwrap()];
        let urls = |flags: &Serve| -> Vec<String> {
            load(flags).unwrap().backends.list.iter().map(|one| one.url.as_ref().unwrap().to_string()).collect()
        };
        assert_eq!(urls(&flags(&config)), ["http://a.example/"]);
        let two = ["--backend", "http://127.0.0.1:8188", "--backend", "http://b.example/ui"];
        assert_eq!(urls(&flags(&[&config[..], &two].concat())), ["http://127.0.0.1:8188/", "http://b.example/ui"]);
        let set = ["--set", "backends=[{ url = \"http://c.example\" }]"];
        assert_eq!(urls(&flags(&set)), ["http://c.example/"]);
        let set = ["--set", "backends=[{ url = \"http://c.example\", password = \"hush\" "];
        let error = load(&flags(&set)).unwrap_err().to_string();
        assert!(error.starts_with("--set backends: not a value of TOML: ") && !error.contains("hush"), "{error}");
        // The other settings of the file stay.
        assert_eq!(load(&flags(&[&config[..], &two].concat())).unwrap().service.workers, 7);
        assert_eq!(load(&flags(&[])).unwrap().backends.list.len(), 0);
    }

    #[test]
    fn invalid_settings_are_reported_with_name_and_source() {
        let url = "[[backends]]\nurl = \"http://a.example\"\n";
        for (text, message) in [
            (
                format!("{url}[[backends]]\nurl = \"ftp://a.example\"\n"),
                "the setting `backends[1]` (file imgopen.toml): `url` is not an HTTP address; give one such as \
                 `http://127.0.0.1:7860`",
            ),
            (format!("{url}[[backends]]\n"), "the setting `backends[1]` (file imgopen.toml): `url` is missing"),
            (
                format!("{url}ulr = 1\n"),
                "the setting `backends[0].ulr` (file imgopen.toml): unknown; the settings here are `url`",
            ),
            (format!("{url}jobs = 0\n"), "the setting `backends[0].jobs` (file imgopen.toml): "),
            (format!("{url}idle = \"soon\"\n"), "the setting `backends[0].idle` (file imgopen.toml): "),
            (
                format!("{url}kind = \"comfy\"\n"),
                "the setting `backends[0].kind` (file imgopen.toml): \"comfy\" given; give one of \"sd-server\", \"comfyui\"",
            ),
            (
                "[[backends]]\nurl = \"127.0.0.1:8188\"\n".to_owned(),
                "the setting `backends[0].url` (file imgopen.toml): ",
            ),
            (
                "[[backends]]\nprogram = \"a\"\nmodels = [{ clip_l = \"x\" }]\n".to_owned(),
                "the setting `backends[0].models[0].clip_l` (file imgopen.toml): unknown; the settings here are `name`",
            ),
            (
                format!("{url}name = \"mine\"\n{url}name = \"mine\"\n"),
                "the setting `backends[1]` (file imgopen.toml): `name`: `backends[0]` is named \"mine\" too",
            ),
            ("backends = 1\n".to_owned(), "the setting `backends` (file imgopen.toml): "),
        ] {
            let error = of_file(&text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}\n{error}");
        }
        let error = load(&flags(&["--backend", "localhost:8188"])).unwrap_err().to_string();
        assert!(error.starts_with("the setting `backends[0]` (command line): `url` is not an HTTP address"), "{error}");
    }

    #[test]
    fn a_password_is_in_no_message() {
        for password in ["12345", "[\"12345\"]", "\"12345\"\npassword_file = \"x\""] {
            let text = format!("[[backends]]\nurl = \"http://a.example\"\nuser = \"me\"\npassword = {password}\n");
            let error = of_file(&text).unwrap_err().to_string();
            assert!(error.contains("password") && !error.contains("12345"), "{error}");
        }
        // Nor in one about what is not TOML, for which the line would be quoted.
        for line in ["password = 12345x", "password = \"12345", "url = \"http://me:12345@b.example\" x"] {
            let error = of_file(&format!("[[backends]]\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("imgopen.toml is not TOML: error at line 2: "), "{error}");
            assert!(!error.contains("12345"), "{error}");
        }
    }

    #[test]
    fn paths_begin_in_the_directory_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imgopen.toml");
        let models = "models = [{ model = \"a.safetensors\" }]";
        let text = format!(
            "[[backends]]\nprogram = \"./sd-server\"\n{models}\n[[backends]]\nprogram = \"sd-server\"\n{models}\n[[backends]]\nurl = \
             \"http://a.example\"\nuser = \"me\"\npassword_file = \"secrets/a\"\n[backends.workflows]\ntext_to_image = \"flows/a.json\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let [one, two, three] = &load(&flags(&["--config", file.to_str().unwrap()])).unwrap().backends.list[..] else {
            panic!("not three")
        };
        assert_eq!(one.program, Some(folder.path().join("sd-server")));
        assert_eq!(two.program.as_deref(), Some(std::path::Path::new("sd-server")));
        assert_eq!(three.password_file, Some(folder.path().join("secrets/a")));
        assert_eq!(three.workflows["text_to_image"], folder.path().join("flows/a.json"));
        // The files of models are below the models directory.
        assert_eq!(one.models[0].model.as_deref(), Some(std::path::Path::new("a.safetensors")));
    }

    #[test]
    fn back_ends_are_listed_with_their_sources_and_without_passwords() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imgopen.toml");
        let text = "[[backends]]\nurl = \"http://a.example\"\nuser = \"me\"\npassword = \"hunter2\"\n[backends.flux_dev]\n\
                    checkpoint = \"flux1-dev-fp8.safetensors\"\n";
        std::fs::write(&file, text).unwrap();
        let listed = list(&flags(&["--config", file.to_str().unwrap()])).unwrap();
        let [backend] = &listed.backends[..] else { panic!("{listed:?}") };
        let shown: Vec<_> = backend
            .iter()
            .map(|setting| format!("{} = {} # {}", setting.name, setting.value.as_ref().unwrap(), setting.source))
            .collect();
        for line in [
            "url = \"http://a.example/\" # file imgopen.toml",
            "password = \"(hidden)\" # file imgopen.toml",
            "flux_dev.checkpoint = \"flux1-dev-fp8.safetensors\" # file imgopen.toml",
            "jobs = 1 # default",
        ] {
            assert!(shown.contains(&line.to_owned()), "{line} is not in {shown:?}");
        }
        assert!(!format!("{listed:?}").contains("hunter2"));
    }
}
