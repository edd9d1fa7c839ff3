//! `merge-file`: one file, three ways; exit 0 merged, 11 left as a conflict.

use std::path::Path;

use cathedral_conflict::{Resolution, merge_file};

use super::{Ended, Failure, Output};

pub fn run(
    base: &Path,
    hub: &Path,
    spoke: &Path,
    name: Option<&str>,
    suggest: Option<usize>,
    explain: bool,
    output: &Output,
) -> Ended {
    let read = |path: &Path| std::fs::read(path).map_err(|e| Failure::io(&path.display().to_string(), &e));
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
    match merged.merged.as_deref().or(wanted) {
        Some(bytes) => {
            output.raw(bytes);
            Ok(0)
        }
        None => Ok(11),
    }
}
