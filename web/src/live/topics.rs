//! What a stream wants to hear of.

use cathedral_model::event::Event;
use cathedral_model::ids::{RunId, SpokeName};

use crate::problem::Problem;

/// The most topics of one stream.
const MOST: usize = 16;

/// A filter over events: an event passes when any topic matches.
///
/// A topic is `run` (all types beginning with `run.`), `run.finished` (one type), `run:12` (everything of
/// one run) or `spoke:docs` (everything of one spoke). No topic: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics(Vec<Topic>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Topic {
    Kind(String),
    Run(RunId),
    Spoke(SpokeName),
}

impl Topics {
    /// Reads a list separated by commas.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = |topic: &str| {
            let shown: String = topic.chars().take(40).collect();
            Problem::bad_request("topic", format!("{shown:?} is not a topic"))
                .hint("topics are types (run, run.finished), run:12 and spoke:name, separated by commas")
        };
        let mut topics = vec![];
        for topic in text.split(',').map(str::trim).filter(|topic| !topic.is_empty() && *topic != "*") {
            topics.push(match topic.split_once(':') {
                Some(("run", number)) => Topic::Run(RunId(number.parse().map_err(|_| bad(topic))?)),
                Some(("spoke", name)) => Topic::Spoke(SpokeName::new(name).map_err(|_| bad(topic))?),
                Some(_) => return Err(bad(topic)),
                None if topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
                    Topic::Kind(topic.to_owned())
                }
                None => return Err(bad(topic)),
            });
        }
        if topics.len() > MOST {
            return Err(Problem::bad_request("topic", format!("at most {MOST} topics")));
        }
        Ok(Self(topics))
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn want(&self, event: &Event) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|topic| match topic {
                Topic::Run(run) => event.event.run == Some(*run),
                Topic::Spoke(spoke) => event.event.spoke.as_ref() == Some(spoke),
                Topic::Kind(kind) => event
                    .event
                    .kind
                    .strip_prefix(kind.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use cathedral_model::event::NewEvent;
    use cathedral_model::ids::Cursor;
    use cathedral_model::time::Timestamp;

    #[test]
    fn topics_choose_by_type_run_and_spoke() {
        let event = |kind: &str, run: i64| Event {
            cursor: Cursor(1),
            at: Timestamp(0),
            event: NewEvent {
                kind: kind.into(),
                run: Some(RunId(run)),
                spoke: SpokeName::new("docs").ok(),
                data: serde_json::Value::Null,
            },
        };
        let wants = |text: &str, event: &Event| Topics::parse(text).unwrap().want(event);
        for yes in ["", "*", "run", "run.finished", "conflict,run", "run:7", "spoke:docs"] {
            assert!(wants(yes, &event("run.finished", 7)), "{yes}");
        }
        for no in ["runs", "run.fin", "conflict", "run:8", "spoke:doc"] {
            assert!(!wants(no, &event("run.finished", 7)), "{no}");
        }
        for bad in ["run:x", "spoke:../x", "a b", "x:1", "<script>"] {
            assert!(Topics::parse(bad).is_err(), "{bad}");
        }
    }
}
