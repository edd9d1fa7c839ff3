//! `merge-file`: one file, three ways; exit 0 merged, 11 left as a conflict.

use std::path::{Path, PathBuf};

use cathedral_conflict::{Resolution, merge_file};
use serde_json::json;

use super::super::output::safe;
use super::{Ended, Failure, Output};

pub fn run(
    [base, hub, spoke]: &[PathBuf; 3],
    name: Option<&str>,
    suggest: Option<usize>,
    explain: bool,
    output: &Output,
) -> Ended {
    let read = |path: &Path| std::fs::read(path).map_err(|e| Failure::read(path, &e));
    let shown = hub.display().to_string();
    let (base, hub, spoke) = (read(base)?, read(hub)?, read(spoke)?);
    let merged = merge_file(Some(&base), &hub, &spoke, name.unwrap_or(&shown));
    if explain {
        for step in &merged.outcome.trace {
            output.warn(format!("{}: {}", step.resolver, step.result));
        }
    }
    let suggestions = match &merged.outcome.resolution {
        Resolution::Suggested(candidates) => candidates.as_slice(),
        _ => &[],
    };
    let wanted = suggest.and_then(|n| n.checked_sub(1)).and_then(|n| suggestions.get(n)).map(|c| c.value.as_slice());
    let steps: Vec<_> =
        merged.outcome.trace.iter().map(|s| json!({ "resolver": s.resolver, "result": s.result })).collect();
    if let Some(bytes) = merged.merged.as_deref().or(wanted) {
        if output.is_machine() {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Failure::new(1, "C1002", "the merged file is not text")
                    .why("a JSON document holds text only")
                    .next("repeat the command without --json: it prints the bytes")
            })?;
            output.data("merge-file", &json!({ "merged": text, "steps": steps }), &[]);
        } else {
            output.raw(bytes);
        }
        return Ok(0);
    }
    let name = safe(name.unwrap_or(&shown));
    let failure = match suggest {
        Some(n) => Failure::new(11, "C1101", format!("there is no suggestion {n} for {name}")),
        None => Failure::new(11, "C1101", format!("hub and spoke cannot be merged in {name}")),
    };
    let last = merged.outcome.trace.iter().rev().find(|s| !s.result.is_empty());
    let failure = match (&merged.outcome.resolution, last) {
        (Resolution::Declined { because }, _) => failure.why(safe(&because.to_string())),
        (_, Some(step)) => failure.why(safe(&step.result)),
        _ => failure,
    };
    let failure = match suggestions.len() {
        0 => failure.next("take one side, or merge by hand"),
        n => failure.next(format!("--suggest N, up to {n}, prints a proposal")),
    };
    Err(failure.data(json!({ "steps": steps, "suggestions": suggestions.len() })))
}
