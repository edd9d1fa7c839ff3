//! Figures for Prometheus. Labels come from the routes, the configuration or a fixed list only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cathedral_model::inbox::ConflictState;

use crate::problem::Problem;
use crate::state::{Shared, State as Hub};

/// Upper bounds in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Durations by bucket.
#[derive(Clone, Debug, Default)]
struct Histogram {
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.counts[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (bound, count) in BOUNDS.iter().zip(self.counts) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

/// What the hub counts itself.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), Histogram>>,
    deliveries: Mutex<BTreeMap<(&'static str, &'static str, &'static str), u64>>,
    commits: Mutex<Histogram>,
}

impl Metrics {
    pub(crate) fn request(&self, route: &str, method: &str, code: u16, took: Duration) {
        // Methods are an open set on the wire; labels are not.
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
        let method = if known.contains(&method) { method } else { "other" };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.to_owned(), method.to_owned(), code);
        requests.entry(key).or_default().observe(took.as_secs_f64());
    }

    pub(crate) fn delivery(&self, source: &'static str, event: &'static str, result: &'static str) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        *deliveries.entry((source, event, result)).or_default() += 1;
    }

    pub(crate) fn commit(&self, took: Duration) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).observe(took.as_secs_f64());
    }
}

/// `GET /metrics`.
pub async fn show(State(state): State<Shared>) -> Result<Response, Problem> {
    let text = state.exposition().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

impl Hub {
    async fn exposition(&self) -> Result<String, Problem> {
        let mut out = String::with_capacity(8_192);
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP cathedral_{name} {help}\n# TYPE cathedral_{name} {kind}");
        };
        head(&mut out, "build_info", "gauge", "The program.");
        let _ = writeln!(out, "cathedral_build_info{{version=\"{}\"}} 1", escaped(&self.hub.version()));
        head(&mut out, "ready", "gauge", "Whether the hub is ready to work.");
        let _ = writeln!(out, "cathedral_ready {}", u8::from(self.hub.not_ready().is_none()));
        let open = self.store.conflicts(None, &[ConflictState::Open]).await?;
        head(&mut out, "conflicts_open", "gauge", "Conflicts that wait for a person.");
        for spoke in &self.engine().ecosystem().spokes {
            let count = open.iter().filter(|conflict| conflict.spoke == spoke.name).count();
            let _ = writeln!(out, "cathedral_conflicts_open{{spoke=\"{}\"}} {count}", spoke.name);
        }
        let rows = self.store.runs(None, 200).await?;
        head(&mut out, "queue_depth", "gauge", "Runs that wait or work, among the newest 200.");
        for state in ["queued", "running"] {
            let count = rows.iter().filter(|row| row.state == state).count();
            let _ = writeln!(out, "cathedral_queue_depth{{state=\"{state}\"}} {count}");
        }
        let head_of_log = self.ledger().head().await;
        if let Ok(log) = head_of_log {
            head(&mut out, "log_size_leaves", "gauge", "Leaves of the transparency log.");
            let _ = writeln!(out, "cathedral_log_size_leaves {}", log.size);
        }
        head(&mut out, "event_cursor", "gauge", "The newest event that streams know of.");
        let _ = writeln!(out, "cathedral_event_cursor {}", self.feed.newest());
        head(&mut out, "sse_clients", "gauge", "Open live streams.");
        let streams = self.stream_count.load(std::sync::atomic::Ordering::Relaxed);
        let _ = writeln!(out, "cathedral_sse_clients {streams}");
        self.counted(&mut out, &head);
        process(&mut out, self.started.0);
        Ok(out)
    }

    fn counted(&self, out: &mut String, head: &dyn Fn(&mut String, &str, &str, &str)) {
        let metrics = &self.metrics;
        head(out, "webhooks_total", "counter", "Deliveries that came in.");
        for ((source, event, result), count) in metrics.deliveries.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let labels = format!("source=\"{source}\",event=\"{event}\",result=\"{result}\"");
            let _ = writeln!(out, "cathedral_webhooks_total{{{labels}}} {count}");
        }
        head(out, "store_commit_seconds", "histogram", "Time to make a delivery durable.");
        let commits = metrics.commits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        commits.write(out, "cathedral_store_commit_seconds", "");
        head(out, "http_request_duration_seconds", "histogram", "Time to answer, by route.");
        for ((route, method, code), times) in metrics.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("route=\"{}\",method=\"{method}\",code=\"{code}\"", escaped(route));
            times.write(out, "cathedral_http_request_duration_seconds", &labels);
        }
    }
}

/// What the system tells of this process; nothing where it does not.
fn process(out: &mut String, started_us: i64) {
    let _ = writeln!(out, "# TYPE process_start_time_seconds gauge");
    let _ = writeln!(out, "process_start_time_seconds {}.{:06}", started_us / 1_000_000, started_us % 1_000_000);
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    if let Some(kib) = field("VmRSS") {
        let _ =
            writeln!(out, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}", kib * 1_024);
    }
    if let Some(threads) = field("Threads") {
        let _ = writeln!(out, "# TYPE process_threads gauge\nprocess_threads {threads}");
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let _ = writeln!(out, "# TYPE process_open_fds gauge\nprocess_open_fds {}", open.count());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
