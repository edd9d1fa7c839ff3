//! Hostile and random files: always an answer, never a panic, never much work.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test may measure time")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cathedral_model::config::{self, Capabilities, NoLookup, Problem, Severity};
use proptest::prelude::*;

const SHORT: &str = include_str!("config/short.yaml");
const FULL: &str = include_str!("config/full.yaml");

fn check(text: &str) -> Vec<Problem> {
    config::validate(text, "c.yaml", &NoLookup, &Capabilities::default())
}

/// The code of the one problem that refuses the whole file.
fn refused(text: &str) -> (&'static str, u32, u32) {
    let began = Instant::now();
    let problems = check(text);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].excerpt.len() < 20_000);
    (problems[0].code, problems[0].line, problems[0].column)
}

#[test]
fn bombs_are_refused_before_they_grow() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=10 {
        let above = format!("*a{}", level - 1);
        let _ = writeln!(bomb, "a{level}: &a{level} [{}]", vec![above; 9].join(", "));
    }
    assert_eq!(refused(&bomb).0, "too_many_values");
    assert_eq!(refused("a: &a [*a]\n").0, "alias_in_itself");
    assert_eq!(refused("a: *nothing\n").0, "unknown_alias");
}

#[test]
fn depth_is_bounded() {
    assert_eq!(refused(&"[".repeat(1000)).0, "too_deep");
    assert_eq!(refused(&"a: {".repeat(1000)).0, "too_deep");
    let mut block = String::new();
    for depth in 0..1000 {
        let _ = writeln!(block, "{}a:", " ".repeat(depth));
    }
    assert_eq!(refused(&block).0, "too_deep");
    assert_eq!(refused(&"- ".repeat(1000)).0, "too_deep");
    let just = format!("{}x{}", "[".repeat(64), "]".repeat(64));
    assert!(check(&just).iter().all(|problem| problem.code != "too_deep"));
}

#[test]
fn size_is_bounded() {
    assert_eq!(refused(&"# much\n".repeat(300_000)), ("file_too_large", 1, 1));
    let one_line = format!("cathedral_ecosystem: {{ master_repository: {} }}", "a".repeat(1_000_000));
    let problems = check(&one_line);
    assert_eq!(problems[0].code, "too_long");
    assert!(problems[0].to_string().len() < 10_000);
}

#[test]
fn characters_that_cannot_be_seen_are_refused_with_their_place() {
    assert_eq!(refused("a: b\nc\0d: e\n"), ("control_character", 2, 2));
    assert_eq!(refused("a: \u{1b}[31mred\n"), ("control_character", 1, 4));
    assert_eq!(refused("a:\n\t- b\n").0, "tab");
    let shown = check("a\u{202e}b: 1\n").iter().map(ToString::to_string).collect::<String>();
    assert!(!shown.contains('\u{202e}') && shown.contains("\\u{202e}"), "{shown}");
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let plain = config::parse(SHORT, "c.yaml", &NoLookup, &Capabilities::default()).unwrap();
    let windows = format!("\u{feff}{}", SHORT.replace('\n', "\r\n"));
    assert_eq!(config::parse(&windows, "c.yaml", &NoLookup, &Capabilities::default()).unwrap(), plain);
    let broken = windows.replace("bidirectional", "bidirektional");
    let problem = check(&broken).into_iter().find(|problem| problem.severity == Severity::Error).unwrap();
    assert_eq!((problem.line, problem.column), (8, 18));
    assert!(!problem.excerpt.contains('\r'));
}

#[test]
fn what_yaml_can_and_a_configuration_cannot_is_refused() {
    for (text, code) in [
        ("", "empty_file"),
        ("# nothing\n", "empty_file"),
        ("--- \na: b\n---\nc: d\n", "second_document"),
        ("%YAML 1.2\n---\na: b\n", "directive"),
        ("a: !!binary aGk=\n", "tag"),
        ("a: !ruby/object:Gem x\n", "tag"),
        ("a: [b\n", "syntax"),
        ("just text\n", "wrong_type"),
        ("[cathedral_ecosystem]\n", "wrong_type"),
    ] {
        assert_eq!(refused(text).0, code, "{text:?}");
    }
}

#[test]
fn ten_thousand_spokes_are_read_and_ten_thousand_mistakes_are_counted() {
    let spokes = |data_sync: &str| {
        let mut text = "cathedral_ecosystem:\n  master_repository: hub\n  connected_repositories:\n".to_owned();
        for number in 0..10_000 {
            let _ = writeln!(
                text,
                "    - {{ name: spoke-{number}, data_sync: {data_sync}, after: [spoke-{}] }}",
                (number + 1) % 10_000
            );
        }
        text
    };
    let began = Instant::now();
    let good = spokes("collect").replace(", after: [spoke-0] }", " }");
    let config = config::parse(&good, "c.yaml", &NoLookup, &Capabilities::default()).unwrap();
    assert_eq!(config.cathedral_ecosystem.connected_repositories.len(), 10_000);
    let circle = check(&spokes("collect"));
    assert_eq!(circle.len(), 1);
    assert_eq!(circle[0].code, "circular_order");
    assert!(circle[0].what.len() < 2000, "{}", circle[0].what.len());
    let problems = check(&spokes("colect"));
    assert_eq!(problems.len(), 501);
    assert_eq!(problems.last().unwrap().code, "too_many_problems");
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
}

#[test]
fn tens_of_thousands_of_anything_are_little_work() {
    let head = "cathedral_ecosystem:\n  master_repository: hub\n";
    let many = |piece: &str, count: usize| piece.repeat(count);
    let cases = [
        ("the same key", format!("{head}{}", many("  name: a\n", 40_000))),
        ("unknown keys", format!("{head}{}", (0..30_000).fold(String::new(), |all, n| format!("{all}  key{n}: a\n")))),
        ("a chain", format!("{head}  conflicts: {{ chain: [{}{}] }}\n", many("text,", 40_000), many("queue,", 40_000))),
        (
            "secrets on a line",
            format!("{head}  backup: {{ recipients: [{}] }}\n", many("AGE-SECRET-KEY-1QQQQQQQQ,", 10_000)),
        ),
        ("opposite names", format!("{head}  connected_repositories: [{}]\n", many("{name: a, after: [bb]},", 12_000))),
        ("one path", format!("{head}  connected_files: [{}]\n", many("{name: a, hub: b, paths: [b]},", 12_000))),
        (
            "mirrors",
            format!(
                "{head}  connected_repositories: [{{ name: a, mirrors: [{}] }}]\n",
                many("{name: b, url: c},", 12_000)
            ),
        ),
        (
            "shared paths",
            format!(
                "{head}  connected_repositories: [{{ name: a, shared_paths: [{}] }}]\n",
                many("{hub: b, spoke: c},", 12_000)
            ),
        ),
        (
            "one table",
            format!(
                "{head}  backup: {{ destinations: [{{ name: a, url: \"file:b\", labels: {{ {} }} }}] }}\n",
                many("a: b,", 40_000)
            ),
        ),
    ];
    for (what, text) in cases {
        assert!(text.len() <= 1 << 20, "{what}: {}", text.len());
        let began = Instant::now();
        let problems = check(&text);
        assert!(!problems.is_empty() && problems.len() <= 501, "{what}: {}", problems.len());
        let shown: usize = problems.iter().map(|problem| problem.to_string().len()).sum();
        println!("{what}: {:?}, {} problems, {shown} bytes", began.elapsed(), problems.len());
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {:?}", began.elapsed());
        assert!(shown < 1_500_000, "{what}: {shown}");
    }
}

#[test]
fn a_secret_is_in_no_problem_even_where_the_file_is_broken() {
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    for text in [
        format!("cathedral_ecosystem:\n  master_repository: {token}\n"),
        format!("cathedral_ecosystem: {{ master_repository: a, {token}: x }}\n"),
        format!(
            "cathedral_ecosystem: {{ backup: {{ destinations: [{{ name: a, url: \"s3://{token}\", credentials: {token} }}] }} }}\n"
        ),
        format!("a: [b, {token}\nc: d: e\n"),
        format!("a: {{ b: x, c: {token} }}\n"),
        format!("\t{token}\n"),
        "a: [b, password: 0123456789abc\nc: d: e\n".to_owned(),
        "cathedral_ecosystem: { master_repository: a, pasword: x, password: 0123456789abc }\n".to_owned(),
        "a: { secret: \"${X}\", password: 0123456789abc ]\n".to_owned(),
        format!("a: {{ b: x, c: {token}, {}: ? ] }}\n", "d".repeat(280)),
        format!("cathedral_ecosystem: {{ x: {token}, {}: y }}\n", "d".repeat(280)),
        format!("cathedral_ecosystem: {{ password: '{}0123456789abc', x: y }}\n", "d ".repeat(140)),
    ] {
        let problems = check(&text);
        assert!(!problems.is_empty());
        for problem in problems {
            let shown = format!("{problem}{problem:?}");
            assert!(!shown.contains("0123456789abc"), "{shown}");
        }
    }
}

/// Cuts, doubles and swaps pieces of an example.
fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..7_u8), 1..6);
    (prop::sample::select(vec![SHORT, FULL]), edits).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (from, length, kind) in edits {
            let from = from.index(chars.len());
            let to = (from + length.index(40)).min(chars.len());
            let piece: Vec<char> = chars[from..to].to_vec();
            match kind {
                0 => drop(chars.drain(from..to)),
                1 => drop(chars.splice(from..from, piece)),
                2 => chars.insert(
                    from,
                    ['\t', '\0', '"', '[', '{', ':', '&', '*', '!', '\u{fffd}', '\u{1F600}'][piece.len() % 11],
                ),
                3 => chars.insert(from, '\n'),
                4 => drop(chars.splice(from..to, "${file:x}".chars())),
                5 => drop(chars.splice(from..to, "99999999999999999999".chars())),
                _ => chars.truncate(from),
            }
            if chars.is_empty() {
                chars.push('x');
            }
        }
        chars.into_iter().collect()
    })
}

fn holds_for(text: &str) -> Result<(), TestCaseError> {
    let checked = config::check(text, "c.yaml", &NoLookup, &Capabilities::default());
    let lines = u32::try_from(text.lines().count().max(1)).unwrap() + 1;
    for problem in &checked.problems {
        prop_assert!(problem.line >= 1 && problem.line <= lines && problem.column >= 1);
        prop_assert!(!problem.what.is_empty());
        for width in [0, 40, 80] {
            prop_assert!(!problem.render(width, false).contains(0x1b as char));
        }
    }
    let has_errors = checked.problems.iter().any(|problem| problem.severity == Severity::Error);
    prop_assert_eq!(checked.config.is_none(), has_errors);
    if let Some(config) = checked.config {
        // What was accepted is shown in a form that is accepted again, unless it asks for something not built yet.
        if checked.problems.iter().all(|problem| problem.severity == Severity::Warning) {
            let again = config::show_yaml(&config);
            let read = config::parse(&again, "again.yaml", &NoLookup, &Capabilities::default());
            prop_assert!(read.is_ok(), "{}\n{:#?}", again, read);
            prop_assert_eq!(config::show_json(&read.unwrap()), config::show_json(&config));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        holds_for(&text)?;
    }

    #[test]
    fn any_yaml_like_text_gets_an_answer(text in "([a-z_]{1,8}: ?|- |[\\[\\]{},:&*!|>'\"#%@`?-]|\n| {1,6}|\t|~|true|[0-9.]+|cathedral_ecosystem:\n  ){0,80}") {
        holds_for(&text)?;
    }

    #[test]
    fn any_changed_example_gets_an_answer(text in mutated()) {
        holds_for(&text)?;
    }
}
