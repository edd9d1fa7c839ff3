//! Small parts of pages as finished markup. Whatever comes from outside goes through [`esc`] first.

use std::fmt::Write as _;

use askama::filters::Safe;
use cathedral_engine::query::{Health, age};
use cathedral_model::time::Timestamp;

/// Finished markup: templates write it as it stands.
pub type Html = Safe<String>;

/// Markup of no length.
pub fn none() -> Html {
    Safe(String::new())
}

/// Text for use in markup and attributes; what controls a terminal or nothing becomes visible.
pub fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A hostile name: its direction stays its own, and what is too long is cut with the whole as title.
pub fn name(text: &str) -> Html {
    let shown = esc(text);
    if text.chars().count() > 24 {
        Safe(format!("<bdi class=\"cut\" title=\"{shown}\">{shown}</bdi>"))
    } else {
        Safe(format!("<bdi>{shown}</bdi>"))
    }
}

/// A hostile text in a table that may be long.
pub fn cut(text: &str) -> Html {
    let shown = esc(&text.chars().take(400).collect::<String>());
    if text.chars().count() > 40 {
        Safe(format!("<bdi class=\"cut wide\" title=\"{shown}\">{shown}</bdi>"))
    } else {
        Safe(format!("<bdi>{shown}</bdi>"))
    }
}

pub fn icon(name: &str) -> String {
    format!("<svg class=\"i\" aria-hidden=\"true\"><use href=\"#{name}\"/></svg>")
}

/// A state: icon, word and colour. `class` is ok, run, warn, bad or idle.
pub fn mark(class: &str, word: &str) -> Html {
    Safe(format!("<span class=\"st {class}\">{}{}</span>", icon(&format!("m-{class}")), esc(word)))
}

/// Only the icon of a state, with its word for those who do not see it.
pub fn sign(class: &str, word: &str) -> Html {
    let word = esc(word);
    Safe(format!(
        "<span class=\"{class}\" title=\"{word}\">{}</span><span class=\"vh\">{word}</span>",
        icon(&format!("m-{class}"))
    ))
}

pub fn health(health: Health, word: &str) -> Html {
    mark(health.mark(), &capital(word))
}

/// The mark of how a run or a part of it ended.
pub fn result_class(result: &str) -> &'static str {
    match result {
        "succeeded" | "synced" | "unchanged" | "ok" | "nothing_to_do" | "snapshotted" | "restored" => "ok",
        "conflicts" | "partial" | "waiting" | "refused" => "warn",
        "failed" | "unreachable" => "bad",
        "running" => "run",
        _ => "idle",
    }
}

pub fn result(result: &str) -> Html {
    mark(result_class(result), &capital(&result.replace('_', " ")))
}

/// How long ago, kept current by the script.
pub fn ago(now: Timestamp, at: Timestamp) -> Html {
    let iso = at.to_rfc3339();
    Safe(format!(
        "<time datetime=\"{iso}\" data-ago=\" ago\" title=\"{}\">{} ago</time>",
        full(at),
        age(now.ms_since(at))
    ))
}

/// As [`ago`] without the word.
pub fn since(now: Timestamp, at: Timestamp) -> Html {
    let iso = at.to_rfc3339();
    Safe(format!("<time datetime=\"{iso}\" data-ago=\"\" title=\"{}\">{}</time>", full(at), age(now.ms_since(at))))
}

/// The time of the day, with the date when it is another one.
pub fn clock(now: Timestamp, at: Timestamp) -> Html {
    let (iso, today) = (at.to_rfc3339(), now.to_rfc3339());
    let shown = if iso.get(..10) == today.get(..10) {
        iso.get(11..16).unwrap_or_default().to_owned()
    } else {
        format!("{} {}", iso.get(..10).unwrap_or_default(), iso.get(11..16).unwrap_or_default())
    };
    Safe(format!("<time datetime=\"{iso}\" title=\"{}\">{shown}</time>", full(at)))
}

/// Date, time and zone.
pub fn full(at: Timestamp) -> String {
    let iso = at.to_rfc3339();
    format!("{} {} UTC", iso.get(..10).unwrap_or_default(), iso.get(11..19).unwrap_or_default())
}

/// A size with three digits.
pub fn size(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit < 5 {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", ["B", "KB", "MB", "GB", "TB", "PB"][unit])
}

/// A number with thin spaces between thousands.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A length of time as runs have it.
pub fn took(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_999 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..=3_599_999 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

/// The beginning of a long id.
pub fn short(id: &str) -> String {
    id.chars().take(10).collect()
}

/// Percent-encodes a text for one value of a query or one part of a path.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What kind of spoke, for people.
pub fn kind_word(kind: cathedral_model::ecosystem::SpokeKind) -> &'static str {
    use cathedral_model::ecosystem::SpokeKind as K;
    match kind {
        K::Git => "Git",
        K::Database => "SQLite",
        K::Files => "Files",
    }
}

pub fn flow_word(flow: cathedral_model::ecosystem::DataSync) -> &'static str {
    use cathedral_model::ecosystem::DataSync as D;
    match flow {
        D::Bidirectional => "both ways",
        D::HubDistribution => "hub to spoke",
        D::Collect => "spoke to hub",
        D::SnapshotOnly => "snapshots only",
    }
}

/// What a run does, for people.
pub fn work_word(work: &cathedral_model::run::Work) -> String {
    use cathedral_model::run::{Phase, Work};
    use cathedral_model::upkeep::Upkeep;
    match work {
        Work::Sync(sync) if sync.only == [Phase::Snapshot] => "Snapshot".into(),
        Work::Sync(sync) => match sync.spokes.as_slice() {
            [] => "Sync everything".into(),
            [one] => format!("Sync {one}"),
            [first, rest @ ..] => format!("Sync {first} and {} more", rest.len()),
        },
        Work::Restore(restore) => format!("Restore {}", short(restore.snapshot.as_str())),
        Work::Upkeep(request) => match request.upkeep {
            Upkeep::Verify { .. } => "Verify snapshots".into(),
            Upkeep::Integrity => "Integrity check".into(),
            Upkeep::Clean => "Cleaning".into(),
            Upkeep::Report => "Report".into(),
        },
    }
}

/// The words of an event.
pub fn event_words(event: &cathedral_model::event::Event) -> (String, &'static str, String) {
    let (kind, data) = (event.event.kind.as_str(), &event.event.data);
    let text = |key: &str| data.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let class = match kind {
        k if k.ends_with(".failed") => "bad",
        "conflict.opened" | "schedule.missed" => "warn",
        "run.finished" if !text("result").is_empty() => result_class(&text("result")),
        k if k.ends_with(".started") => "run",
        k if k.starts_with("config.") || k.starts_with("delivery.") => "idle",
        _ => "ok",
    };
    let link = match (event.event.run, kind) {
        (_, k) if k.starts_with("conflict.") => data
            .get("conflict")
            .or_else(|| data.get("id"))
            .and_then(serde_json::Value::as_i64)
            .map(|id| format!("/conflicts/{id}")),
        (Some(run), _) => Some(format!("/runs/{run}")),
        _ => None,
    };
    let mut words = capital(&kind.replace(['.', '_'], " "));
    if let Some(run) = event.event.run.filter(|_| kind.starts_with("run.")) {
        words = format!("Run {run} {}", kind.trim_start_matches("run.").replace('_', " "));
        let result = text("result").replace('_', " ");
        if !result.is_empty() && result != "succeeded" {
            let _ = write!(words, ": {result}");
        }
    } else if let Some(spoke) = &event.event.spoke {
        let _ = write!(words, ": {spoke}");
    }
    for key in ["schedule", "place", "item", "name", "error"] {
        let more = text(key);
        if !more.is_empty() {
            let _ = write!(words, " · {}", more.chars().take(120).collect::<String>());
            break;
        }
    }
    (words, class, link.unwrap_or_default())
}
