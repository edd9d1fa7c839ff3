//! What the program logs to standard error: plain lines for people, one JSON object a line for machines.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Failure;
use super::args::LogFormat;
use crate::hub::HubEnv;

/// Begins to log. `CATHEDRAL_LOG` (for example `info,cathedral_web=debug`) goes before `verbose`; JSON is for
/// whoever keeps logs, so that it begins at `info`.
pub fn start(verbose: u8, format: LogFormat) {
    let least = if format == LogFormat::Json { 1 } else { 0 };
    let level = match verbose.max(least) {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("CATHEDRAL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber can only come from a test in the same process.
    let _ = match format {
        LogFormat::Text => lines.without_time().try_init(),
        LogFormat::Json => lines.event_format(JsonLines).try_init(),
    };
}

/// Logs what a command failed with, as one line.
pub fn failure(failure: &Failure) {
    let problems: Vec<String> = failure.problems.iter().map(ToString::to_string).collect();
    let more = [&failure.details[..], &problems[..]].concat().join("\n");
    tracing::error!(
        code = failure.id,
        exit = failure.code,
        why = failure.why.as_deref().unwrap_or_default(),
        next = failure.next.join("; "),
        more,
        "{}",
        failure.what
    );
}

/// One object a line: `ts` (RFC 3339, UTC), `level`, `msg`, `target`, then what the event carries; `run` and
/// `spoke` go by these names.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        let about = event.metadata();
        line.insert("ts".into(), HubEnv::clock().to_rfc3339().into());
        line.insert("level".into(), about.level().as_str().to_ascii_lowercase().into());
        line.insert("msg".into(), "".into());
        line.insert("target".into(), about.target().into());
        event.record(&mut Fields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            "run.id" => "run",
            "spoke.name" => "spoke",
            // What a line always has is not overwritten by what an event carries.
            name @ ("ts" | "level" | "target" | "msg") => return self.put_as(&format!("event.{name}"), value),
            name => name,
        };
        self.put_as(name, value);
    }

    fn put_as(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}
