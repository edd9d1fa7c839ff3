//! Times as people write and read them.

use cathedral_model::time::Timestamp;

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

/// Reads the number of something that is counted from 1, or a cursor.
pub fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "a whole number is expected here".to_owned())
}

/// Reads `90s`, `10m`, `2h`, `3d`, `500ms`.
pub fn duration(text: &str) -> Result<Span, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("{other:?} is not a unit: use ms, s, m, h or d")),
    };
    number.checked_mul(factor).map(Span).ok_or_else(|| format!("{text:?} is too long"))
}

/// Reads `2h ago`, `@2026-11-20T14:00` or `@2026-11-20`, in the local time zone unless one is given.
pub fn point(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = text.strip_suffix(" ago").or_else(|| text.strip_suffix("-ago")) {
        let Span(ms) = duration(ago.trim()).ok()?;
        return Some(Timestamp(now.0.saturating_sub(i64::try_from(ms).ok()?.saturating_mul(1_000))));
    }
    let text = text.strip_prefix('@')?;
    if let Ok(exact) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(exact.as_microsecond()));
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

/// Clocks of two machines may differ by so much before a time counts as one in the future.
pub const AHEAD_SECONDS: u64 = 60;

/// How long ago, for people.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let ahead = then.ms_since(now) / 1_000;
    if ahead > AHEAD_SECONDS {
        return format!("in {}", long(ahead));
    }
    match now.ms_since(then) / 1_000 {
        0..=1 => "just now".into(),
        seconds => format!("{} ago", long(seconds)),
    }
}

/// A length of time, for people.
pub fn long(seconds: u64) -> String {
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5_399 => format!("{} min", (seconds + 30) / 60),
        5_400..=129_599 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// The local time of day and date.
pub fn local(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .map(|t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_else(|_| at.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_the_unit_that_fits() {
        let told = [0, 89, 90, 5_400, 129_600].map(long);
        assert_eq!(told, ["0 s", "89 s", "2 min", "2 h", "2 d"]);
        assert_eq!(ago(Timestamp(0), Timestamp(7_200_000_000)), "2 h ago");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp(10_000_000_000);
        assert_eq!(point("2h ago", now), Some(Timestamp(10_000_000_000 - 7_200_000_000)));
        assert_eq!(point("@1970-01-01T00:00:01Z", now), Some(Timestamp(1_000_000)));
        assert_eq!(point("latest", now), None);
        assert_eq!(duration("90s"), Ok(Span(90_000)));
        assert!(duration("90y").is_err());
        assert!(duration("99999999999999999999d").is_err());
    }
}
