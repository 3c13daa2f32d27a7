//! The flags of an operation, one for each field of its request, built from the tables of the contract at run time.
//!
//! A flag is the field's name in kebab case. A field inside an object has the path to it, joined with dots
//! (`--alwayson-scripts.sd-vae`), and the last part alone (`--sd-vae`) if no other field ends with it. Lists are
//! repeatable; objects, and lists of objects, are JSON. Names as they are on the wire are accepted too.

use heck::ToKebabCase;
use imgopen_types::Operation;
use imgopen_types::schema::{Field, Object, Shape};

/// The flag of a field.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The path of the field: wire names, outermost first.
    pub path: Vec<&'static str>,
    /// The field in the contract's tables.
    pub field: &'static Field,
    /// The flag as help shows it, without the dashes.
    pub long: String,
    /// Other spellings; the first is the whole path if the flag is only a part of it.
    pub aliases: Vec<String>,
    /// Whether help shows the first alias.
    pub shows_path: bool,
    /// Whether the field and everything around it are required.
    pub required: bool,
}

/// Returns every flag of an operation in the contract's order, an object before its fields.
pub fn flags(operation: &Operation) -> Vec<Flag> {
    let mut found = Vec::new();
    collect(operation.request, &[], true, &mut found);
    let paths: Vec<_> = found.iter().map(|flag| kebab(&flag.path)).collect();
    for index in 0..found.len() {
        name(&mut found, index, &paths);
    }
    found
}

fn collect(schema: &'static Object, outer: &[&'static str], required: bool, found: &mut Vec<Flag>) {
    for field in schema.fields {
        let path = [outer, &[field.name]].concat();
        let required = required && field.required;
        found.push(Flag {
            path: path.clone(),
            field,
            long: String::new(),
            aliases: Vec::new(),
            shows_path: false,
            required,
        });
        if let Shape::Object(inner) = &field.shape {
            collect(inner, &path, required, found);
        }
    }
}

/// Finds the shortest ending of a flag's path that no other path has, and the other spellings.
fn name(found: &mut [Flag], index: usize, paths: &[Vec<String>]) {
    let own = &paths[index];
    let is_free = |ending: &[String]| {
        let mut others = paths.iter().enumerate().filter(|(other, _)| *other != index);
        others.all(|(_, path)| !path.ends_with(ending))
    };
    let whole = own.join(".");
    let long = (1..own.len()).map(|length| &own[own.len() - length..]).find(|ending| is_free(ending));
    let long = long.map_or_else(|| whole.clone(), |ending| ending.join("."));
    let flag = &mut found[index];
    let mut aliases = vec![whole.clone(), flag.path.join(".")];
    if let [only] = flag.path.as_slice() {
        aliases.push((*only).to_owned());
        aliases.extend(flag.field.aliases.iter().flat_map(|alias| [(*alias).to_owned(), alias.to_kebab_case()]));
    }
    flag.shows_path = whole != long;
    for alias in aliases {
        if alias != long && !flag.aliases.contains(&alias) {
            flag.aliases.push(alias);
        }
    }
    flag.long = long;
}

fn kebab(path: &[&str]) -> Vec<String> {
    path.iter().map(|name| name.to_kebab_case()).collect()
}

impl Flag {
    /// The id of the flag's argument in its command.
    pub fn id(&self) -> String {
        self.path.join(".")
    }

    /// Whether the field is the caller id, which is generated unless given.
    pub fn is_caller_id(&self, operation: &Operation) -> bool {
        operation.caller_id.is_some_and(|id| id.path == self.path)
    }

    /// Whether the command line or the JSON document must give the field.
    pub fn is_needed(&self, operation: &Operation) -> bool {
        self.required && !self.is_caller_id(operation) && !matches!(self.field.shape, Shape::Object(_))
    }
}
