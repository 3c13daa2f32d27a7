//! Descriptions, which are Markdown, as HTML that can neither run nor load anything.

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::place::{self, Places};

/// A description; code that names an operation or a schema other than `here` links to it.
pub fn text(places: &Places<'_>, here: Option<&str>, text: &str) -> Markup {
    let mut writer = Writer { places, here, prefix: "", ends: Vec::new() };
    writer.write(text)
}

/// Where the facts come from, apart from what they mean: folded away where it is a list, in small print otherwise.
pub fn source(places: &Places<'_>, source: Option<&str>) -> Markup {
    html! {
        @if let Some(source) = source {
            @if source.starts_with("* ") {
                details .source { summary { "Sources" } (text(places, None, source)) }
            } @else {
                div .source { (text(places, None, &format!("Source: {source}"))) }
            }
        }
    }
}

/// The description of a document: its headings can be linked to.
pub fn document(places: &Places<'_>, prefix: &str, text: &str) -> Markup {
    let mut writer = Writer { places, here: None, prefix, ends: Vec::new() };
    writer.write(text)
}

/// The headings of a description.
pub fn headings(text: &str) -> Vec<String> {
    let events: Vec<_> = parse(text).collect();
    let is_heading = |event: &Event<'_>| matches!(event, Event::Start(Tag::Heading { .. }));
    let starts = events.iter().enumerate().filter(|(_, event)| is_heading(event));
    starts.map(|(index, _)| heading_text(&events[index..])).collect()
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// The words of the heading that begins there.
fn heading_text(events: &[Event<'_>]) -> String {
    let inside = events.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    inside
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect()
}

struct Writer<'a> {
    places: &'a Places<'a>,
    here: Option<&'a str>,
    /// What the ids of headings begin with.
    prefix: &'a str,
    /// What the links and pictures end with that are open.
    ends: Vec<Event<'a>>,
}

impl<'a> Writer<'a> {
    fn write(&mut self, text: &'a str) -> Markup {
        let events: Vec<_> = parse(text).collect();
        let mut safe = Vec::new();
        for (index, event) in events.iter().enumerate() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    safe.push(self.heading(*level, &heading_text(&events[index..])));
                }
                Event::End(TagEnd::Heading(level)) => safe.push(Event::End(TagEnd::Heading(lower(*level)))),
                // A wide table scrolls, by the keyboard too, instead of the page.
                Event::Start(Tag::Table(_)) => {
                    safe.push(Event::Html(
                        r#"<div class="scroll" role="region" aria-label="Table" tabindex="0">"#.into(),
                    ));
                    safe.push(event.clone());
                }
                Event::End(TagEnd::Table) => safe.extend([event.clone(), Event::Html("</div>".into())]),
                _ => safe.push(self.inline(event)),
            }
        }
        let mut html = String::new();
        pulldown_cmark::html::push_html(&mut html, safe.into_iter());
        PreEscaped(html)
    }

    /// A heading one level further down, below the page's own.
    fn heading(&self, level: HeadingLevel, text: &str) -> Event<'a> {
        let id = (!self.prefix.is_empty()).then(|| CowStr::from(place::heading(self.prefix, text)));
        Event::Start(Tag::Heading { level: lower(level), id, classes: Vec::new(), attrs: Vec::new() })
    }

    fn inline(&mut self, event: &Event<'a>) -> Event<'a> {
        match event {
            // Tags in a description are text: `<lora:x:1>` is part of a prompt.
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text.clone()),
            Event::Start(Tag::Link { link_type, dest_url, .. }) => self.link(*link_type, dest_url, event),
            // A picture would be loaded from elsewhere; the text that stands for it remains.
            Event::Start(Tag::Image { .. }) => self.open(Event::Text("".into()), Event::Text("".into())),
            Event::End(TagEnd::Link | TagEnd::Image) => self.ends.pop().unwrap_or(Event::Text("".into())),
            Event::Code(code) if self.ends.is_empty() => self.code(code),
            other => other.clone(),
        }
    }

    /// Links lead to pages and to places of this one; anything else is shown as it is written.
    fn link(&mut self, kind: LinkType, target: &str, event: &Event<'a>) -> Event<'a> {
        let leads = ["https://", "http://", "#"].iter().any(|start| target.starts_with(start));
        match kind {
            _ if leads => self.open(event.clone(), Event::End(TagEnd::Link)),
            LinkType::Autolink | LinkType::Email => self.open(Event::Text("<".into()), Event::Text(">".into())),
            _ => self.open(Event::Text("".into()), Event::Text("".into())),
        }
    }

    fn open(&mut self, start: Event<'a>, end: Event<'a>) -> Event<'a> {
        self.ends.push(end);
        start
    }

    fn code(&self, code: &CowStr<'a>) -> Event<'a> {
        let name = code.as_ref();
        let api = self.places.api;
        let target = if api.operation(name).is_ok() && self.here != Some(name) {
            place::operation(name)
        } else if api.schema(name).is_ok() {
            place::schema(name)
        } else {
            return Event::Code(code.clone());
        };
        Event::InlineHtml(html! { a href={ "#" (target) } { code { (name) } } }.into_string().into())
    }
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    HeadingLevel::try_from(level as usize + 1).unwrap_or(HeadingLevel::H6)
}
