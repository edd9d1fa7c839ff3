//! What the outside is told: the kinds of messages, and the form in which they are sent.
//!
//! A message is filed with the change it tells of, in the same transaction. Its payload holds numbers and
//! names that lead to the rest, never content and never secrets. `docs/notifications.md` is the specification.

use serde_json::{Value, json};

use crate::event::Message;
use crate::ids::Digest;
use crate::time::Timestamp;

/// The version of the form; a reader passes over what it does not know.
pub const VERSION: u32 = 1;

/// A kind of message.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    pub name: &'static str,
    pub meaning: &'static str,
}

const fn topic(name: &'static str, meaning: &'static str) -> Topic {
    Topic { name, meaning }
}

/// Sent by `hook test`, to one endpoint, whatever that one listens to.
pub const PING: &str = "ping";
pub const CONFLICT_OPENED: &str = "conflict.opened";
pub const CONFLICT_SETTLED: &str = "conflict.settled";
pub const DESTINATION_BEHIND: &str = "destination.behind";
pub const RESTORE_FINISHED: &str = "restore.finished";
pub const SCHEDULE_MISSED: &str = "schedule.missed";
pub const SNAPSHOT_SEALED: &str = "snapshot.sealed";
pub const VERIFY_FAILED: &str = "verify.failed";

/// Every kind of message but [`PING`].
pub const TOPICS: &[Topic] = &[
    topic("run.finished", "a run has ended and changed something"),
    topic("run.failed", "a run has ended and could not do what it was asked for"),
    topic(RESTORE_FINISHED, "a restore has ended, well or not"),
    topic(CONFLICT_OPENED, "conflicts wait for a person"),
    topic(CONFLICT_SETTLED, "conflicts no longer wait"),
    topic(SNAPSHOT_SEALED, "a snapshot is complete and in the log"),
    topic(VERIFY_FAILED, "a check found damage, or that data is not what the log says"),
    topic(DESTINATION_BEHIND, "a destination does not hold a snapshot that others hold; once a day each"),
    topic(SCHEDULE_MISSED, "due times of a schedule were left out"),
];

/// Whether a pattern (`*`, `run.*`, `run.failed`) means a topic.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => topic.starts_with(start),
        None => pattern == topic,
    }
}

/// The id that the receiver sees: the same for every try, another for every message of every hub.
#[must_use]
pub fn message_id(ecosystem: &str, key: &str, filed_at: Timestamp) -> String {
    let digest = Digest::of(format!("{ecosystem}\n{key}\n{}", filed_at.0).as_bytes());
    format!("msg_{}", &digest.to_string()[..32])
}

/// The body of a signed webhook. The same for every try: nothing in it comes from the clock.
#[must_use]
pub fn body(message: &Message, ecosystem: &str, public_url: Option<&str>, filed_at: Timestamp) -> Value {
    json!({
        "type": message.topic,
        "timestamp": filed_at.to_rfc3339(),
        "version": VERSION,
        "ecosystem": ecosystem,
        "link": link(message, public_url),
        "data": message.payload,
    })
}

/// The body of a message to a Slack channel.
#[must_use]
pub fn slack(message: &Message, ecosystem: &str, public_url: Option<&str>) -> Value {
    // The three characters that Slack reads as its own.
    let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut text = plain(&format!("{ecosystem}: {}", sentence(message)));
    if let Some(link) = link(message, public_url) {
        text.push_str(&format!("\n<{}>", plain(&link)));
    }
    json!({ "text": text })
}

fn link(message: &Message, public_url: Option<&str>) -> Option<String> {
    Some(format!("{}{}", public_url?.trim_end_matches('/'), page(message)))
}

/// The page of the dashboard that shows what a message tells of.
fn page(message: &Message) -> String {
    let data = &message.payload;
    let number = |key: &str| data.get(key).and_then(Value::as_i64);
    match (message.topic.as_str(), number("run")) {
        (CONFLICT_OPENED | CONFLICT_SETTLED, _) => match data.get("conflicts").and_then(Value::as_array) {
            Some(ids) if ids.len() == 1 => format!("/conflicts/{}", ids[0]),
            _ => "/conflicts".to_owned(),
        },
        (SNAPSHOT_SEALED, _) => match data.get("snapshot").and_then(Value::as_str) {
            Some(id) => format!("/snapshots/{id}"),
            None => "/snapshots".to_owned(),
        },
        (DESTINATION_BEHIND, _) => "/snapshots".to_owned(),
        (SCHEDULE_MISSED, _) => "/schedules".to_owned(),
        (_, Some(run)) => format!("/runs/{run}"),
        _ => "/deliveries".to_owned(),
    }
}

/// What a message says, in one sentence for people.
#[must_use]
pub fn sentence(message: &Message) -> String {
    let data = &message.payload;
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| data.get(key).and_then(Value::as_i64).unwrap_or_default();
    let run = number("run");
    let because = |text: &str| if text.is_empty() { String::new() } else { format!(": {text}") };
    match message.topic.as_str() {
        "run.finished" => format!("run {run} has ended ({}), {}", text("cause"), text("result").replace('_', " ")),
        "run.failed" => format!("run {run} failed ({}){}", text("cause"), because(text("error"))),
        RESTORE_FINISHED if number("code") == 0 => format!("restore {run} of {} is done and proven", text("snapshot")),
        RESTORE_FINISHED => format!("restore {run} of {} failed{}", text("snapshot"), because(text("error"))),
        CONFLICT_OPENED => format!("{} of {}", count(number("count"), "new conflict"), text("spoke")),
        CONFLICT_SETTLED => format!("{} of {} settled", count(number("count"), "conflict"), text("spoke")),
        SNAPSHOT_SEALED => format!("snapshot {} is complete and sealed", text("snapshot")),
        VERIFY_FAILED => format!("{} found by a check{}", count(number("count"), "problem"), because(text("first"))),
        DESTINATION_BEHIND => format!("{} does not hold snapshot {}", text("destination"), text("snapshot")),
        SCHEDULE_MISSED => {
            format!("{} of schedule {} left out", count(number("missed").max(1), "due time"), text("schedule"))
        }
        PING => "this is a test; notifications arrive".to_owned(),
        other => other.to_owned(),
    }
}

fn count(n: i64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: Value) -> Message {
        Message { key: "k".into(), topic: topic.into(), payload }
    }

    #[test]
    fn a_pattern_means_one_topic_a_family_or_all() {
        for (pattern, topic, expected) in [
            ("*", "run.failed", true),
            ("run.*", "run.failed", true),
            ("run.*", "runner", false),
            ("run.failed", "run.failed", true),
            ("run.fail", "run.failed", false),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn every_topic_has_a_sentence_and_a_page() {
        for topic in TOPICS {
            let told = message(topic.name, json!({ "run": 7, "conflicts": [3], "snapshot": "01K", "count": 1 }));
            assert_ne!(sentence(&told), topic.name, "{}", topic.name);
            let link = body(&told, "atlas", Some("https://hub.example/"), Timestamp(0))["link"].clone();
            assert!(link.as_str().is_some_and(|l| l.starts_with("https://hub.example/") && !l.contains("//r")));
        }
        assert_eq!(body(&message(PING, json!({})), "atlas", None, Timestamp(0))["link"], Value::Null);
    }

    #[test]
    fn slack_reads_no_text_of_ours_as_markup() {
        let told = message("run.failed", json!({ "run": 7, "cause": "<!channel> & more", "error": "a<b" }));
        let text = slack(&told, "at<las", Some("https://hub.example"))["text"].as_str().unwrap_or_default().to_owned();
        let expected = "at&lt;las: run 7 failed (&lt;!channel&gt; &amp; more): a&lt;b\n<https://hub.example/runs/7>";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_id_is_the_same_for_every_try_and_no_other() {
        let id = message_id("atlas", "run:1:run.failed", Timestamp(5));
        assert_eq!(id, message_id("atlas", "run:1:run.failed", Timestamp(5)));
        assert_eq!(id.len(), 36);
        for other in [("b", "run:1:run.failed", 5), ("atlas", "run:2:run.failed", 5), ("atlas", "run:1:run.failed", 6)]
        {
            assert_ne!(id, message_id(other.0, other.1, Timestamp(other.2)));
        }
    }
}
