//! One side's value as people see it, and what can be said of a result before it is put in place.

use std::io::Read as _;

use cathedral_model::plan::SideValue;

use crate::pages::diff::{self, Line};
use crate::pages::part::{self, Html, esc};
use crate::state::Shared;

/// Of a content, so many lines are shown; the whole can be downloaded.
const LINES: usize = 2_000;

/// A value as text, as far as it is shown.
pub(super) enum Text {
    /// Nothing is there on that side.
    Nothing,
    /// Only a short form is known (an object id, a cell).
    Short(String),
    Whole(String),
    Cut(String),
    Binary,
    Lost(String),
}

impl Text {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Whole(text) | Self::Cut(text) => Some(text),
            _ => None,
        }
    }
}

pub(super) async fn load(state: &Shared, value: Option<&SideValue>, most: usize) -> Text {
    let Some(value) = value else { return Text::Nothing };
    let Some(id) = value.content else { return Text::Short(value.shown.clone()) };
    let content = state.content();
    let read = move || -> Result<Vec<u8>, String> {
        let mut bytes = vec![];
        let from = content.open(&id).map_err(|error| error.to_string())?;
        from.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    };
    let bytes = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(why)) => return Text::Lost(why),
        Err(error) => return Text::Lost(error.to_string()),
    };
    let is_cut = bytes.len() > most;
    let kept = &bytes[..bytes.len().min(most)];
    match std::str::from_utf8(kept) {
        Ok(text) if is_cut => Text::Cut(text.to_owned()),
        Ok(text) => Text::Whole(text.to_owned()),
        // A letter may be cut in two at the end.
        Err(error) if is_cut && kept.len() - error.valid_up_to() < 4 => {
            Text::Cut(String::from_utf8_lossy(&kept[..error.valid_up_to()]).into_owned())
        }
        Err(_) => Text::Binary,
    }
}

pub(super) fn code(number: usize, class: &str, text: &str) -> Html {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    askama::filters::Safe(format!("<span{class} data-n=\"{number}\">{}</span>", esc(text)))
}

/// The lines of a side, those that differ from before marked.
pub(super) fn marked(base: Option<&str>, text: &str) -> Vec<Html> {
    let mut number = 0;
    let mut out = vec![];
    let compared = diff::lines(base.unwrap_or(""), text);
    for line in compared {
        let (class, text) = match line {
            Line::Same(text) => ("", text),
            Line::Added(text) => (if base.is_some() { "a" } else { "" }, text),
            Line::Removed(_) => continue,
        };
        number += 1;
        out.push(code(number, class, text));
        if out.len() >= LINES {
            break;
        }
    }
    out
}

/// What can be said of a result before it is put in place.
pub(super) fn check(place: &str, text: &Text) -> Html {
    let Some(whole) = text.text() else {
        return match text {
            Text::Nothing => part::mark("warn", "It is removed on both sides"),
            Text::Lost(_) => part::mark("bad", "Cannot be read"),
            _ => part::mark("idle", "Taken as it is"),
        };
    };
    if matches!(text, Text::Cut(_)) {
        return part::mark("idle", "Too long to check here");
    }
    match fault(place, whole) {
        Some(why) => part::mark("bad", &why),
        None if is_json(place) => part::mark("ok", "Parses as JSON"),
        None => part::mark("ok", "Text, whole"),
    }
}

/// Why a text is hardly what its author meant.
pub(super) fn fault(place: &str, text: &str) -> Option<String> {
    if text.lines().any(|l| l.starts_with("<<<<<<< ") || l.starts_with(">>>>>>> ")) {
        return Some("Marks of a merge are left in it".into());
    }
    if is_json(place)
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        return Some(format!("No JSON: {error}"));
    }
    None
}

fn is_json(place: &str) -> bool {
    place.to_ascii_lowercase().ends_with(".json")
}
