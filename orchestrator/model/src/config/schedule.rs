//! Checks the five fields of a cron expression.

use super::nearest::nearest;
use super::problem::{Wrong, printable};

const MACROS: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of the week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// Refuses what is no schedule.
///
/// # Errors
/// Which field is wrong, and why.
pub fn check_cron(text: &str) -> Result<(), Wrong> {
    if MACROS.contains(&text) {
        return Ok(());
    }
    if text.starts_with('@') {
        let wrong = Wrong::new("bad_schedule", format!("`{}` is no schedule", printable(text, 40)));
        return Err(wrong.allowed(MACROS).nearest(nearest(text, MACROS)));
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let what = format!("`{}` is no schedule", printable(text, 60));
        let why = if fields.len() > 1 {
            format!("cron has five fields (minute, hour, day, month, weekday); here are {}", fields.len())
        } else {
            "a schedule is an interval, five cron fields, or a word such as @daily".to_owned()
        };
        return Err(Wrong::new("bad_schedule", what).why(why).hint("15m, \"0 3 * * *\" (03:00 each day), @daily"));
    }
    for (field, text) in FIELDS.iter().zip(&fields) {
        for part in text.split(',') {
            check_part(field, part).map_err(|why| {
                Wrong::new("bad_schedule", format!("`{}` is no {} of a schedule", printable(part, 40), field.name))
                    .why(why)
                    .hint(format!(
                        "a number from {} to {}, `*`, a range such as {}-{}, or steps such as */5",
                        field.least,
                        field.most,
                        field.least,
                        field.least + 3
                    ))
            })?;
        }
    }
    impossible_day(&fields)
}

fn check_part(field: &Field, part: &str) -> Result<(), String> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    if let Some(step) = step {
        let step: u32 = step.parse().map_err(|_| "the step after `/` is no number".to_owned())?;
        if step == 0 || step > field.most {
            return Err(format!("the step must be from 1 to {}", field.most));
        }
    }
    if range == "*" {
        return Ok(());
    }
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (number(field, from)?, number(field, to)?),
        None => {
            let at = number(field, range)?;
            (at, at)
        }
    };
    if from > to {
        return Err(format!("the range runs backwards from {from} to {to}"));
    }
    Ok(())
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = field.names.iter().position(|name| *name == lower) {
        return Ok(field.least + u32::try_from(index).unwrap_or_default());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("it is no number".to_owned());
    }
    let number: u32 = text.parse().map_err(|_| "it is too large".to_owned())?;
    if (field.least..=field.most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("it goes from {} to {}", field.least, field.most))
    }
}

/// Days such as 31 April never come.
fn impossible_day(fields: &[&str]) -> Result<(), Wrong> {
    let (Ok(day), Ok(month)) = (fields[2].parse::<u32>(), number(&FIELDS[3], fields[3])) else {
        return Ok(());
    };
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > longest && fields[4] == "*" {
        let what = format!("day {day} of month {month} never comes");
        return Err(Wrong::new("bad_schedule", what).hint(format!("a day from 1 to {longest}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_is_checked_field_by_field() {
        for good in ["0 3 * * *", "*/15 * * * *", "0 0 1,15 jan-mar MON", "@daily", "5 4 * * 7", "0 0 29 2 *"] {
            assert!(check_cron(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "0 3 * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "9-3 * * * *",
            "@dayly",
            "x * * * *",
            "0 0 31 4 *",
            ", * * * *",
            "-1 * * * *",
        ] {
            assert!(check_cron(bad).is_err(), "{bad}");
        }
    }
}
