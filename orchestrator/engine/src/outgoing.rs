//! What follows from a try to deliver a message. Pure: the same answer at the same time gives the same verdict.

use cathedral_model::time::Timestamp;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// How long to wait after each failed try, as Standard Webhooks has it: ten tries in a little over three days.
const WAITS: [u64; 9] =
    [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// A receiver may ask for more patience than we have; not for more than this.
const MOST: u64 = 24 * HOUR;

/// What a try gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered with this status, and perhaps said when to come again (in seconds).
    Status { code: u16, retry_after: Option<u64> },
    /// No answer: refused, timed out, broken off, not permitted.
    None,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Try again at this time.
    Again(Timestamp),
    /// Tried often enough; a person can ask for another try.
    GivenUp,
    /// The receiver wants nothing any more: give up, and send nothing else there by itself.
    Gone,
}

/// Decides what follows from a try. `tried` counts the tries before it; `entropy` spreads tries that failed
/// together: up to a fifth is added to the wait.
#[must_use]
pub fn verdict(answer: &Answer, tried: u32, now: Timestamp, entropy: u16) -> Verdict {
    let asked = match answer {
        Answer::Status { code: 200..=299, .. } => return Verdict::Delivered,
        Answer::Status { code: 410, .. } => return Verdict::Gone,
        Answer::Status { retry_after, .. } => retry_after.unwrap_or(0).saturating_mul(SECOND).min(MOST),
        Answer::None => 0,
    };
    let Some(wait) = WAITS.get(tried as usize) else { return Verdict::GivenUp };
    let jitter = wait / 5 * u64::from(entropy) / u64::from(u16::MAX);
    Verdict::Again(now.plus_ms((wait + jitter).max(asked)))
}

/// Reads `Retry-After`: seconds, or a date; none when it is neither.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_microsecond();
    Some(Timestamp(at).ms_since(now).div_ceil(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn status(code: u16, retry_after: Option<u64>) -> Answer {
        Answer::Status { code, retry_after }
    }

    #[test]
    fn each_answer_has_one_consequence() {
        for (answer, expected) in [
            (status(200, None), Verdict::Delivered),
            (status(204, Some(99)), Verdict::Delivered),
            (status(299, None), Verdict::Delivered),
            (status(410, Some(1)), Verdict::Gone),
            (status(500, None), Verdict::Again(NOW.plus_ms(5_000))),
            (status(404, None), Verdict::Again(NOW.plus_ms(5_000))),
            (status(301, None), Verdict::Again(NOW.plus_ms(5_000))),
            (status(101, None), Verdict::Again(NOW.plus_ms(5_000))),
            (Answer::None, Verdict::Again(NOW.plus_ms(5_000))),
            (status(429, Some(2)), Verdict::Again(NOW.plus_ms(5_000))),
            (status(503, Some(120)), Verdict::Again(NOW.plus_ms(120_000))),
            (status(503, Some(u64::MAX)), Verdict::Again(NOW.plus_ms(86_400_000))),
        ] {
            assert_eq!(verdict(&answer, 0, NOW, 0), expected, "{answer:?}");
        }
    }

    #[test]
    fn ten_tries_in_a_little_over_three_days_then_a_person() {
        let mut at = NOW;
        for tried in 0..9 {
            let Verdict::Again(next) = verdict(&Answer::None, tried, at, 0) else { panic!("try {tried}") };
            assert!(next > at);
            at = next;
        }
        assert_eq!(at.ms_since(NOW), 5 * SECOND + 35 * MINUTE + 75 * HOUR);
        for tried in [9, 10, u32::MAX] {
            assert_eq!(verdict(&Answer::None, tried, at, 0), Verdict::GivenUp);
            assert_eq!(verdict(&status(200, None), tried, at, 0), Verdict::Delivered, "a person may try for ever");
        }
    }

    #[test]
    fn tries_that_failed_together_do_not_come_back_together() {
        for tried in 0..9 {
            let at = |entropy| match verdict(&Answer::None, tried, NOW, entropy) {
                Verdict::Again(at) => at.ms_since(NOW),
                other => panic!("{other:?}"),
            };
            let wait = WAITS[tried as usize];
            assert_eq!((at(0), at(u16::MAX)), (wait, wait + wait / 5));
            assert!(at(100) <= at(40_000));
        }
    }

    #[test]
    fn when_to_come_again_is_a_number_or_a_date() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
            ("Tue, 14 Nov 2000 22:14:20 GMT", Some(0)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, NOW), expected, "{text:?}");
        }
    }
}
