//! Progress on stderr: moving for a terminal, one line per phase in a pipe.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use cathedral_model::ports::Progress;
use cathedral_model::ports::env::Update;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{Output, safe};

/// Shows what a run does once it takes longer than a second.
pub struct Bar {
    bar: Option<ProgressBar>,
    lines: bool,
    state: Mutex<State>,
}

struct State {
    phase: String,
    since: Instant,
    begun: Instant,
}

impl Bar {
    pub fn new(output: &Output) -> Self {
        let watched = output.is_watched();
        let bar = watched.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_style(style(0));
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            lines: output.progress && !watched,
            state: Mutex::new(State { phase: String::new(), since: now, begun: now }),
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(total: u64) -> ProgressStyle {
    let template =
        if total > 0 { "  {prefix:<9} {pos}/{len} {wide_msg} eta {eta}" } else { "  {prefix:<9} {wide_msg}" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for Bar {
    fn update(&self, update: &Update<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.phase != update.phase;
        if fresh {
            update.phase.clone_into(&mut state.phase);
            state.since = Instant::now();
        }
        let Some(bar) = &self.bar else {
            // A quick run stays quiet; a long one tells each phase as it begins.
            if fresh && self.lines && state.begun.elapsed() > Duration::from_secs(1) {
                eprintln!("{}: {}", update.phase, safe(update.item));
            }
            return;
        };
        if state.begun.elapsed() < Duration::from_millis(400) {
            return;
        }
        // The phase may have begun before anything was shown.
        if bar.prefix() != update.phase {
            bar.set_prefix(update.phase.to_owned());
            bar.set_style(style(update.total));
        }
        if update.total > 0 {
            bar.set_length(update.total);
            bar.set_position(update.done);
        }
        bar.set_message(format!("{} {}", update.unit, safe(update.item)));
    }
}
