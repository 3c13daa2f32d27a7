//! `imgopen models`.

use imgopen_client::{Client, IntoData};
use serde_json::{Value, json};

use super::packs;
use crate::args::connection::Connection;
use crate::args::models::{ModelKind, Models};
use crate::output::{print, print_json};
use crate::remote::Remote;

/// The rows of a page.
const PAGE: i64 = 100;

/// A model of any kind.
#[derive(Debug)]
struct Model {
    kind: ModelKind,
    /// The name in requests and prompts.
    name: String,
    /// The name for people.
    title: String,
    base: Option<String>,
    /// The row of the answer, unchanged.
    row: Value,
}

/// Runs the command.
pub fn run(command: Models, as_json: bool) -> anyhow::Result<()> {
    match command {
        Models::List { kinds, name, connection } => list(kinds, name.as_deref(), &connection, as_json),
        Models::Packs(args) => packs::list(&args, as_json),
        Models::Pull(args) => packs::pull(args, as_json),
        Models::Remove(args) => packs::remove(&args, as_json),
    }
}

fn list(kinds: Vec<ModelKind>, name: Option<&str>, connection: &Connection, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let remote = Remote::open(connection)?;
        let kinds = if kinds.is_empty() { ModelKind::ALL.to_vec() } else { kinds };
        let mut models = Vec::new();
        for kind in kinds {
            models.extend(all(&remote, kind, name).await?);
        }
        show(&models, as_json)
    })
}

/// Fetches all pages of one kind.
macro_rules! pages {
    ($remote:ident, $kind:ident, $text:ident: $list:ident, $filter:ident, $name:ident, $title:ident) => {{
        let mut found = Vec::new();
        for page in 1.. {
            let query = async |client: &Client| {
                let call = client.$list().body_map(|mut body| {
                    if let Some(text) = $text {
                        body = body.$filter(text);
                    }
                    body.page_size(PAGE).page_num(page)
                });
                call.send().await.into_data()
            };
            let answer = $remote.query(query).await;
            let answer = answer.map_err(|error| $remote.explain(error))?;
            let is_empty = answer.rows.is_empty();
            found.extend(answer.rows.into_iter().map(|row| Model {
                kind: $kind,
                name: row.$name.clone(),
                title: row.$title.clone(),
                base: row.model_base_model.clone(),
                row: json!(row),
            }));
            // A server may return smaller pages than requested.
            if is_empty || found.len() as i64 >= answer.total {
                break;
            }
        }
        found
    }};
}

async fn all(remote: &Remote, kind: ModelKind, text: Option<&str>) -> anyhow::Result<Vec<Model>> {
    Ok(match kind {
        ModelKind::Checkpoint => {
            pages!(remote, kind, text: list_models, sd_model_name, sd_model_checkpoint, sd_model_name)
        }
        ModelKind::Lora => {
            pages!(remote, kind, text: list_loras, sd_lora_name, sd_lora_file_simplify_name, sd_lora_name)
        }
        ModelKind::Vae => pages!(remote, kind, text: list_vaes, sd_vae_name, sd_vae, sd_vae_name),
        ModelKind::Embedding => {
            pages!(remote, kind, text: list_embeddings, sd_embedding_name, sd_embedding_name, sd_embedding_name)
        }
    })
}

fn show(models: &[Model], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let models = models.iter().map(|model| {
            json!({
                "kind": model.kind.as_str(), "name": model.name, "title": model.title, "base_model": model.base,
                "row": model.row,
            })
        });
        return print_json(&json!({ "models": models.collect::<Value>() }));
    }
    if models.is_empty() {
        return print("no models found");
    }
    let width = models.iter().map(|model| model.name.chars().count()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!("{:<11} {:<width$}  title", "kind", "name")];
    lines.extend(models.iter().map(|model| {
        let base = model.base.as_ref().map_or(String::new(), |base| format!(" ({base})"));
        format!("{:<11} {:<width$}  {}{base}", model.kind.as_str(), model.name, model.title)
    }));
    print(&lines.join("\n"))
}
