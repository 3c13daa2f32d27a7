//! Writes the contact sheet as one HTML page with embedded pictures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgopen_engine::Format;
use imgopen_picture::{Attached, encode};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Entry, Result, Tile};

const STYLE: &str = "body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; background: #fafaf8; color: #141418 } \
    figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top } img { max-width: 420px; height: auto } \
    figcaption { font-size: 13px; color: #555 } h2 { font-size: 16px; margin: 2em 0 .5em } .in img { outline: 2px solid #888 }";

/// Returns the whole page.
pub fn page(entries: &[Entry]) -> Result<String> {
    let entries = entries.iter().map(entry).collect::<Result<Vec<_>>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "imgopen: all tools" } style { (PreEscaped(STYLE)) } }
            body { h1 { "All tools, inputs and outputs side by side" } @for entry in entries { (entry) } }
        }
    };
    Ok(page.into_string())
}

fn entry(entry: &Entry) -> Result<Markup> {
    let figures = |tiles: &[Tile]| tiles.iter().map(figure).collect::<Result<Vec<_>>>();
    let (inputs, outputs) = (figures(&entry.inputs)?, figures(&entry.outputs)?);
    Ok(html! {
        h2 { (entry.title) }
        div {
            span.in { @for figure in inputs { (figure) } }
            @for figure in outputs { (figure) }
        }
        @if !entry.words.is_empty() { ul { @for words in &entry.words { li { (words) } } } }
    })
}

fn figure(tile: &Tile) -> Result<Markup> {
    let file = encode(&tile.image, Format::WebP, &Attached::default())?;
    let source = format!("data:image/webp;base64,{}", STANDARD.encode(file));
    let (width, height) = (tile.image.width(), tile.image.height());
    Ok(html! {
        figure { img src=(source) width=(width) height=(height) alt=(tile.caption); figcaption { (tile.caption) } }
    })
}
