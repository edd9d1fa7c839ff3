//! The keys of the hub: whether they are there and fit; the log's verifier key is written anew with `--fix`.

use super::super::Failure;
use super::Line;
use crate::hub::{HEAL, KEYS_BACK, Site, key_faults, mend_verifier_key};

/// Looks at the keys; what is missing of those that nothing can replace stops every command with words of its own.
pub fn look(site: &Site, fix: bool) -> Result<Vec<Line>, Failure> {
    let mut lines = vec![];
    for key in key_faults(site) {
        let what = format!("the key file .cathedral/keys/{} is missing or damaged: {}", key.file, key.fault);
        if !key.is_mendable {
            lines.push(Line::bad(20, what, KEYS_BACK));
        } else if !fix {
            lines.push(Line::bad(20, what, &format!("{HEAL}    writes it anew from the secret key")));
        } else if mend_verifier_key(site)? {
            lines.push(Line::good(format!("{what}; it was written anew"), "the log is signed by the same key".into()));
        } else {
            lines.push(Line::bad(20, what, &format!("log.key has not signed this log: {KEYS_BACK}")));
        }
    }
    Ok(lines)
}
