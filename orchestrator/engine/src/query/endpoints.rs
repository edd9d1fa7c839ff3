//! Endpoints that cannot be told anything: somebody relies on hearing of a failure.

use super::verdict::age;
use super::{Facts, Health, Need};

/// A receiver may be away for this long without anybody being called.
const PATIENCE_MS: u64 = 3_600_000;

/// Returns what a person should look at.
pub(super) fn needs(facts: &Facts) -> Vec<Need> {
    let mut needs = vec![];
    for standing in &facts.watching.endpoints {
        let Some(since) = standing.failing_since else { continue };
        let spent = facts.now.ms_since(since);
        let why = if standing.is_gone() {
            format!("it wants nothing any more ({}); nothing new is sent there", standing.last)
        } else if spent > PATIENCE_MS {
            format!("nothing has arrived for {}: {}", age(spent), standing.last)
        } else {
            continue;
        };
        needs.push(Need {
            health: Health::Attention,
            what: format!("{} is not told what happens", standing.endpoint),
            why,
            link: "/deliveries".into(),
            command: format!("cathedral hook test {}", standing.endpoint),
            since: Some(since),
        });
    }
    needs
}
