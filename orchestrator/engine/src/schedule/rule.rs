//! When a rule is due: exact over changes of the clocks.
//!
//! Cron follows what Vixie's cron does, as croner implements it: a job at fixed times whose wall time is
//! left out by a change runs once, at the first instant after it; one whose wall time comes twice runs
//! once, at the first; jobs with `*` or steps in hour or minute go by the clock on the wall.

use cathedral_model::schedule::Rule;
use cathedral_model::time::Timestamp;
use croner::Cron;
use jiff::tz::TimeZone;

/// Looks a zone of the IANA database up.
pub type Zones<'a> = dyn Fn(&str) -> Option<TimeZone> + Send + Sync + 'a;

/// Why a rule cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{expression:?} is no cron expression: {why}")]
    Cron { expression: String, why: String },
    #[error("the time zone {0:?} is not known")]
    Zone(String),
    #[error("an interval of 0 ms never passes")]
    NoInterval,
    #[error("{0} is outside the years that can be computed")]
    OutOfRange(Timestamp),
}

/// Returns the first due time of a rule declared at `now`: an interval begins then.
pub fn first_due(rule: &Rule, now: Timestamp, zones: &Zones<'_>) -> Result<Option<Timestamp>, RuleError> {
    next_due(rule, now, zones)
}

/// Returns the first due time strictly after `after`; none when there is no more (within croner's horizon).
pub fn next_due(rule: &Rule, after: Timestamp, zones: &Zones<'_>) -> Result<Option<Timestamp>, RuleError> {
    match rule {
        Rule::Every { ms: 0 } => Err(RuleError::NoInterval),
        Rule::Every { ms } => Ok(Some(after.plus_ms(*ms))),
        Rule::Cron { expression, time_zone } => {
            let cron = parse(expression)?;
            let zone = zones(time_zone).ok_or_else(|| RuleError::Zone(time_zone.clone()))?;
            let from = jiff::Timestamp::from_microsecond(after.0).map_err(|_| RuleError::OutOfRange(after))?;
            let from = from.to_zoned(zone);
            match cron.find_next_occurrence(&from, false) {
                Ok(next) => Ok(Some(Timestamp(next.timestamp().as_microsecond()))),
                Err(croner::errors::CronError::TimeSearchLimitExceeded) => Ok(None),
                Err(error) => Err(wrong(expression, &error)),
            }
        }
    }
}

/// Returns the due times in `after..=until`, at most `limit`.
pub fn upcoming(
    rule: &Rule,
    after: Timestamp,
    until: Timestamp,
    limit: usize,
    zones: &Zones<'_>,
) -> Result<Vec<Timestamp>, RuleError> {
    let mut found = vec![];
    let mut at = after;
    while found.len() < limit {
        match next_due(rule, at, zones)? {
            Some(next) if next <= until => found.push(next),
            _ => break,
        }
        at = found[found.len() - 1];
    }
    Ok(found)
}

/// Returns a rule as people say it.
#[must_use]
pub fn in_words(rule: &Rule) -> String {
    match rule {
        Rule::Every { ms } => format!("every {}", length(*ms)),
        Rule::Cron { expression, time_zone } => match parse(expression) {
            Ok(cron) => {
                let words = cron.describe();
                let words = words.trim_end_matches('.');
                let mut letters = words.chars();
                let lower = letters.next().map(|c| c.to_lowercase().collect::<String>() + letters.as_str());
                format!("{} ({time_zone})", lower.unwrap_or_default())
            }
            Err(_) => expression.clone(),
        },
    }
}

/// A length of time in its largest whole unit.
fn length(ms: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{} {unit}", ms / size);
        }
    }
    format!("{ms} ms")
}

fn parse(expression: &str) -> Result<Cron, RuleError> {
    croner::parser::CronParser::builder()
        .seconds(croner::parser::Seconds::Disallowed)
        .build()
        .parse(expression)
        .map_err(|error| wrong(expression, &error))
}

fn wrong(expression: &str, error: &croner::errors::CronError) -> RuleError {
    RuleError::Cron { expression: expression.to_owned(), why: error.to_string() }
}
