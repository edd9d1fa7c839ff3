//! The hard cases of three-way merges, one test each, through the standard chain.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;

use cathedral_conflict::conflict::Meta;
use cathedral_conflict::fields::{ApplyError, FieldChoice, apply_fields, fields};
use cathedral_conflict::{Chain, Conflict, Kind, Pattern, Policy, Reason, Resolution, merge_file};

fn resolve(path: &str, base: &str, hub: &str, spoke: &str) -> Resolution {
    let conflict = Conflict::new(path, Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
    Chain::standard().resolve(&conflict).resolution
}

#[track_caller]
fn merged(path: &str, base: &str, hub: &str, spoke: &str, expect: &str) {
    let outcome = resolve(path, base, hub, spoke);
    match &outcome {
        Resolution::Resolved(candidate) => assert_eq!(text(&candidate.value), expect),
        other => panic!("expected a result, got {other:#?}"),
    }
}

#[track_caller]
fn suggested(path: &str, base: &str, hub: &str, spoke: &str, expect: &str) -> Pattern {
    match resolve(path, base, hub, spoke) {
        Resolution::Suggested(candidates) => {
            assert_eq!(text(&candidates[0].value), expect);
            candidates[0].pattern
        }
        other => panic!("expected a suggestion, got {other:#?}"),
    }
}

#[track_caller]
fn declined(path: &str, base: &str, hub: &str, spoke: &str) -> Reason {
    match resolve(path, base, hub, spoke) {
        Resolution::Declined { because } => because,
        other => panic!("expected to decline, got {other:#?}"),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn open_at(path: &str, base: &str, hub: &str, spoke: &str) -> Vec<String> {
    let conflict = Conflict::new(path, Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
    fields(&conflict).into_iter().map(|field| field.pointer).collect()
}

#[test]
fn case_01_the_same_edit_with_other_blanks_is_agreed_in_hubs_bytes() {
    merged("a.js", "let a = 1;\n", "let a  =  2;\n", "  let a = 2;\n", "let a  =  2;\n");
    // Where blanks have a meaning they are an edit.
    assert!(matches!(resolve("a.py", "a = 1\n", "  a = 2\n", "a = 2\n"), Resolution::Declined { .. }));
}

#[test]
fn case_02_a_reformatted_json_takes_the_other_sides_value() {
    let base = r#"{"a": 1, "b": {"c": [1, 2], "d": 2}}"#;
    let hub = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1, 2],\n    \"d\": 2\n  }\n}\n";
    let spoke = r#"{"a": 1, "b": {"c": [1, 2], "d": 3}}"#;
    let expect = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1, 2],\n    \"d\": 3\n  }\n}\n";
    merged("a.json", base, hub, spoke, expect);
    merged("a.json", base, spoke, hub, expect);
    let spoke = r#"{"a": 1, "b": {"c": [1, 2], "d": 2, "e": 5}}"#;
    let expect = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1, 2],\n    \"d\": 2,\n    \"e\": 5\n  }\n}\n";
    merged("a.json", base, hub, spoke, expect);
    merged("a.json", base, spoke, hub, expect);
}

#[test]
fn case_03_line_ends_of_the_side_that_changed_them_and_the_others_edit() {
    merged("a.txt", "a\nb\nc\n", "a\r\nb\r\nc\r\n", "a\nB\nc\n", "a\r\nB\r\nc\r\n");
    merged("a.txt", "a\nb\nc\nd\n", "a\r\nb\r\nc\r\nD\r\n", "A\nb\nc\nd\n", "A\r\nb\r\nc\r\nD\r\n");
    merged("a.yaml", "a: 1\nb: 2\n", "a: 1\r\nb: 3\r\n", "a: 5\nb: 2\n", "a: 5\r\nb: 3\r\n");
}

#[test]
fn case_04_appending_to_a_file_without_final_newline_glues_no_lines() {
    let pattern = suggested("a.txt", "a", "a\nb", "a\nc", "a\nb\nc");
    assert_eq!(pattern, Pattern::SectionAppend);
    merged("a.yaml", "a: 1", "a: 1\nb: 2", "a: 1\nc: 3", "a: 1\nb: 2\nc: 3");
}

#[test]
fn case_05_two_keys_added_at_one_place_are_both_in() {
    merged(
        "a.json",
        "{\n  \"a\": 1\n}\n",
        "{\n  \"a\": 1,\n  \"h\": 2\n}\n",
        "{\n  \"a\": 1,\n  \"f\": 3\n}\n",
        "{\n  \"a\": 1,\n  \"f\": 3,\n  \"h\": 2\n}\n",
    );
    merged(
        "a.toml",
        "b = 1\na = 1\n",
        "b = 1\na = 1\nx = 2\n",
        "b = 1\na = 1\nc = 3\n",
        "b = 1\na = 1\nx = 2\nc = 3\n",
    );
    merged("a.yaml", "b: 1\na: 1\n", "b: 1\na: 1\nx: 2\n", "b: 1\na: 1\nc: 3\n", "b: 1\na: 1\nx: 2\nc: 3\n");
    merged("a.ini", "[s]\nb=1\na=1\n", "[s]\nb=1\na=1\nx=2\n", "[s]\nb=1\na=1\nc=3\n", "[s]\nb=1\na=1\nx=2\nc=3\n");
}

#[test]
fn case_06_one_key_added_twice_is_one_if_equal_and_open_there_if_not() {
    merged("a.json", "{\"z\":0}", "{\"z\":1,\"k\":5}", "{\"z\":0,\"k\":5,\"q\":1}", "{\"z\":1,\"k\":5,\"q\":1}");
    let (base, hub, spoke) = ("{\"z\":0}", "{\"z\":1,\"k\":5}", "{\"z\":0,\"k\":6}");
    assert_eq!(open_at("a.json", base, hub, spoke), ["/k"]);
    let pattern = suggested("a.json", base, hub, spoke, "{\"z\":1,\"k\":5}");
    assert_eq!(pattern, Pattern::ScalarBoth.min(Pattern::KeyAddedBoth));
}

#[test]
fn case_07_a_deletion_against_an_edit_is_open_at_that_key_with_the_edit_proposed() {
    let (base, hub, spoke) =
        ("{\"a\": 1, \"b\": 2, \"c\": 3}", "{\"a\": 1, \"c\": 3}", "{\"a\": 1, \"b\": 9, \"c\": 4}");
    assert_eq!(open_at("a.json", base, hub, spoke), ["/b"]);
    assert_eq!(suggested("a.json", base, hub, spoke, "{\"a\": 1, \"b\": 9, \"c\": 4}"), Pattern::DeleteEdit);
    let (base, hub, spoke) = ("a: 1\nb:\n  c: 1\nd: 1\n", "a: 1\nd: 1\n", "a: 1\nb:\n  c: 2\nd: 1\n");
    assert_eq!(open_at("a.yaml", base, hub, spoke), ["/b"]);
}

#[test]
fn case_08_one_list_item_added_twice_is_there_once() {
    merged(
        "a.json",
        "{\"l\":[\"a\"],\"z\":0}",
        "{\"l\":[\"a\",\"b\"],\"z\":1}",
        "{\"l\":[\"a\",\"b\"],\"z\":0}",
        "{\"l\":[\"a\",\"b\"],\"z\":1}",
    );
    let pattern = suggested(
        "a.json",
        "{\"l\":[\"a\"]}",
        "{\"l\":[\"a\",\"b\",\"h\"]}",
        "{\"l\":[\"a\",\"b\",\"s\"]}",
        "{\"l\":[\"a\",\"b\",\"h\",\"s\"]}",
    );
    assert_eq!(pattern, Pattern::SetUnion);
    // With duplicates in base the list is no set.
    let (base, hub, spoke) = ("{\"l\":[\"a\",\"a\"]}", "{\"l\":[\"a\",\"a\",\"b\"]}", "{\"l\":[\"a\",\"a\",\"c\"]}");
    assert_eq!(open_at("a.json", base, hub, spoke), ["/l"]);
}

#[test]
fn case_09_a_reordered_list_takes_the_item_added_elsewhere() {
    let pattern = suggested(
        "a.json",
        "[\"a\",\"b\",\"c\"]",
        "[\"c\",\"b\",\"a\"]",
        "[\"a\",\"b\",\"n\",\"c\"]",
        "[\"c\",\"b\",\"n\",\"a\"]",
    );
    assert_eq!(pattern, Pattern::ListReorder);
}

#[test]
fn case_10_two_orders_are_open_and_both_shown() {
    let (base, hub, spoke) = ("[1,2,3]", "[3,2,1]", "[2,1,3]");
    let conflict = Conflict::new("a.json", Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
    match Chain::standard().resolve(&conflict).resolution {
        Resolution::Suggested(candidates) => {
            let shown: Vec<&str> = candidates.iter().map(|candidate| text(&candidate.value)).collect();
            assert_eq!(shown, [hub, spoke]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn case_11_a_duplicate_key_in_an_input_declines_and_says_so() {
    let because = declined("a.json", "{\"a\":1}", "{\"a\":1,\"a\":2}", "{\"a\":3}");
    assert!(matches!(because, Reason::DuplicateKey { key, .. } if key == "a"));
}

#[test]
fn case_12_two_spellings_of_a_number_are_one_value() {
    merged("a.json", "{\"n\":5,\"b\":1}", "{\"n\":1e3,\"b\":1}", "{\"n\":1000,\"b\":2}", "{\"n\":1e3,\"b\":2}");
    merged("a.json", "{\"n\":1000,\"b\":1}", "{\"n\":1e3,\"b\":1}", "{\"n\":2000,\"b\":1}", "{\"n\":2000,\"b\":1}");
    merged("a.toml", "x = 1.0\ny = 1\n", "x = 1.00\ny = 2\n", "x = 3.0\ny = 1\n", "x = 3.0\ny = 2\n");
}

#[test]
fn case_13_an_edited_anchor_is_not_merged() {
    let base = "a: &x\n  k: 1\nb: *x\nc: 1\nd: 1\ne: 1\nf: 1\n";
    let hub = base.replace("a: &x", "a: &y").replace("*x", "*y");
    let spoke = base.replace("f: 1", "f: 2");
    assert!(matches!(resolve("a.yaml", base, &hub, &spoke), Resolution::Suggested(_)));
    let hub = base.replace("k: 1", "k: 2").replace("c: 1", "c: 3");
    let spoke = base.replace("k: 1", "k: 9");
    assert!(matches!(declined("a.yaml", base, &hub, &spoke), Reason::Unsupported { what, .. } if what == "an anchor"));
}

#[test]
fn case_14_a_yaml_key_moved_to_another_level_is_no_line_merge() {
    let base = "a:\n  x: 1\n  y:\n    p: 1\n    q: 1\n    r: 1\n    s: 1\nz: 1\n";
    // Hub moves y out of a; the spoke adds a key below y's last line.
    let hub = "a:\n  x: 1\ny:\n  p: 1\n  q: 1\n  r: 1\n  s: 1\nz: 1\n";
    let spoke = "a:\n  x: 1\n  y:\n    p: 1\n    q: 1\n    r: 1\n    s: 2\nz: 1\n";
    assert!(resolve("a.yaml", base, hub, spoke).resolved().is_none());
    // The lines merge cleanly, but the new key would land under the wrong parent: by key it lands under the right one.
    let base = "a:\n  x: 1\n  y: 1\n  w: 1\n  v: 1\nz: 1\n";
    let hub = "a:\n  x: 1\nb:\n  y: 1\n  w: 1\n  v: 1\nz: 1\n";
    let spoke = "a:\n  x: 1\n  y: 1\n  w: 1\n  v: 1\n  n: 1\nz: 1\n";
    merged("a.yaml", base, hub, spoke, "a:\n  x: 1\n  n: 1\nb:\n  y: 1\n  w: 1\n  v: 1\nz: 1\n");
}

#[test]
fn case_15_one_toml_value_in_two_forms_is_agreed_in_hubs_form() {
    let hub = "[a]\nb = 2\n";
    merged("a.toml", "a = { b = 1 }\n", hub, "a = { b = 2 }\n", hub);
    merged("a.toml", "a.b = 1\n", "[a]\nb = 2\n", "a.b = 2\n", "[a]\nb = 2\n");
}

#[test]
fn case_16_a_comment_here_and_a_value_there_are_both_in() {
    merged("a.toml", "# old\na = 1\n", "# new\na = 1\n", "# old\na = 2\n", "# new\na = 2\n");
    merged("a.yaml", "a: 1 # old\nb: 2\n", "a: 1 # new\nb: 2\n", "a: 5 # old\nb: 2\n", "a: 5 # new\nb: 2\n");
    merged(
        "a.jsonc",
        "{\n  // old\n  \"a\": 1\n}\n",
        "{\n  // new\n  \"a\": 1\n}\n",
        "{\n  // old\n  \"a\": 2\n}\n",
        "{\n  // new\n  \"a\": 2\n}\n",
    );
    merged(
        "a.jsonc",
        "{\n  \"a\": 1, // one\n  \"b\": 2 // two\n}\n",
        "{\n  \"a\": 1, // uno\n  \"b\": 2 // two\n}\n",
        "{\n  \"a\": 1, // one\n  \"b\": 2, // two\n  \"c\": 3\n}\n",
        "{\n  \"a\": 1, // uno\n  \"b\": 2, // two\n  \"c\": 3\n}\n",
    );
}

#[test]
fn case_17_a_comment_moves_with_its_key() {
    merged(
        "a.toml",
        "a = 1\n# about b\nb = 1\nc = 1\n",
        "a = 1\nc = 1\n# about b\nb = 1\n",
        "a = 1\n# about b\nb = 2\nc = 1\n",
        "a = 1\nc = 1\n# about b\nb = 2\n",
    );
}

#[test]
fn case_18_two_submodules_added_at_the_end_are_both_in() {
    let base = "[submodule \"a\"]\n\tpath = a\n\turl = https://example.org/a\n";
    let hub = format!("{base}[submodule \"h\"]\n\tpath = h\n\turl = https://example.org/h\n");
    let spoke = format!("{base}[submodule \"s\"]\n    path = s\n    url = https://example.org/s\n");
    let expect = format!("{hub}[submodule \"s\"]\n    path = s\n    url = https://example.org/s\n");
    merged(".gitmodules", base, &hub, &spoke, &expect);
    let removed = "";
    let edited = base.replace("/a\n", "/b\n");
    assert_eq!(open_at(".gitmodules", base, removed, &edited), ["/submodule a"]);
}

#[test]
fn a_hostile_submodule_is_not_merged_in_alone() {
    let base = "[submodule \"a\"]\n\tpath = a\n\turl = https://example.org/a\n";
    let spoke = base.replace("org/a", "org/moved");
    for line in ["path = ../../x", "path = -x", "url = --upload-pack=x", "url = ext::sh x", "update = !sh"] {
        let hub = format!("{base}[submodule \"h\"]\n\t{line}\n");
        let outcome = resolve(".gitmodules", base, &hub, &spoke);
        assert!(matches!(outcome, Resolution::Suggested(_)), "{line}: {outcome:?}");
    }
}

#[test]
fn case_24_two_changelog_entries_are_proposed_with_hubs_first() {
    let base = "# Changes\n\n## Unreleased\n\n- old\n";
    let hub = "# Changes\n\n## Unreleased\n\n- hub\n- old\n";
    let spoke = "# Changes\n\n## Unreleased\n\n- spoke\n- old\n";
    let expect = "# Changes\n\n## Unreleased\n\n- hub\n- spoke\n- old\n";
    assert_eq!(suggested("CHANGELOG.md", base, hub, spoke, expect), Pattern::SectionAppend);
}

#[test]
fn case_31_binary_changed_on_both_sides_is_never_merged() {
    let conflict = Conflict::new("a.png", Some(b"\0a"), b"\0b", b"\0c");
    assert_eq!(conflict.kind, Kind::Binary);
    assert_eq!(Chain::standard().resolve(&conflict).resolution, Resolution::Declined { because: Reason::Binary });
    // One binary side is enough.
    let conflict = Conflict::new("a.txt", Some(b"a\n"), b"b\n", b"c\0\n");
    assert!(Chain::standard().resolve(&conflict).resolution.resolved().is_none());
    let caf = Conflict::new("a.txt", Some(b"caf\xe9\nb\n"), b"caf\xe9\nb\nc\n", b"x\ncaf\xe9\nb\n");
    assert!(Chain::standard().resolve(&caf).resolution.resolved().is_none());
}

#[test]
fn case_32_markers_in_an_input_are_text() {
    let base = "how git marks:\n<<<<<<< ours\n=======\n>>>>>>> theirs\nend\nmore\nlast\n";
    let hub = base.replace("last", "LAST");
    let spoke = base.replace("how git", "How git");
    merged("git.txt", base, &hub, &spoke, &hub.replace("how git", "How git"));
}

#[test]
fn case_34_deep_long_and_wide_inputs_stay_inside_the_caps() {
    let deep = |value: &str| format!("{}{value}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = |value: &str| format!("{}{value}{}", "{\"a\":".repeat(63), "}".repeat(63));
    let wide = |side: &str| {
        let keys = (0..3_000).map(|n| format!("\"k{n}\":1,\"{side}{n}\":2"));
        format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
    };
    let long = |a: u8, b: u8| format!("{{\"l\":\"{}\",\"a\":{a},\"b\":{b}}}", "x".repeat(1 << 20));
    assert!(matches!(declined("a.json", &deep("1"), &deep("2"), &deep("3")), Reason::Unsupported { .. }));
    assert_eq!(open_at("a.json", &nested("1"), &nested("2"), &nested("3")), ["/a".repeat(63)]);
    let base = wide("b").replace(":2", ":1");
    assert!(matches!(resolve("a.json", &base, &wide("h"), &wide("s")), Resolution::Resolved(_)));
    merged("a.json", &long(1, 1), &long(2, 1), &long(1, 2), &long(2, 2));
}

#[test]
fn case_36_utf16_is_merged_and_written_alike() {
    let encode = |text: &str| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let (base, hub, spoke) = (encode("ä\nb\nc\n"), encode("ä\nb\nC\n"), encode("Ä\nb\nc\n"));
    let merged = merge_file(Some(&base), &hub, &spoke, "a.txt");
    assert_eq!(merged.merged, Some(encode("Ä\nb\nC\n")));
}

#[test]
fn case_38_a_clean_line_merge_that_breaks_the_format_is_caught() {
    let base = "{\n  \"a\": 1,\n  \"b\": 1,\n  \"c\": 1\n}\n";
    let hub = "{\n  \"k\": 1,\n  \"a\": 1,\n  \"b\": 1,\n  \"c\": 1\n}\n";
    let spoke = "{\n  \"a\": 1,\n  \"b\": 1,\n  \"k\": 2,\n  \"c\": 1\n}\n";
    assert!(resolve("a.json", base, hub, spoke).resolved().is_none());
    assert_eq!(open_at("a.json", base, hub, spoke), ["/k"]);
}

#[test]
fn case_39_newest_without_a_clock_waits() {
    let chain = Chain::with_policy(Policy::Newest);
    let conflict = Conflict::new("a.txt", Some(b"a"), b"b", b"c");
    assert!(matches!(chain.resolve(&conflict).resolution, Resolution::Declined { .. }));
    let meta = Meta { descendant: Some(cathedral_conflict::Side::Spoke), ..Meta::default() };
    let resolution = chain.resolve(&conflict.with_meta(meta)).resolution;
    assert_eq!(resolution.resolved().unwrap().value, b"c");
}

#[test]
fn case_40_without_a_base_nothing_is_deleted() {
    let conflict = Conflict::new("a.json", None, b"{\"a\":1}", b"{\"b\":2}");
    match Chain::standard().resolve(&conflict).resolution {
        Resolution::Suggested(candidates) => assert_eq!(text(&candidates[0].value), "{\"a\":1,\"b\":2}"),
        other => panic!("{other:?}"),
    }
    let conflict = Conflict::new("a.txt", None, b"a\n", b"b\n");
    assert_eq!(Chain::standard().resolve(&conflict).resolution, Resolution::Declined { because: Reason::NoBase });
}

#[test]
fn an_open_field_is_settled_by_a_choice() {
    let (base, hub, spoke) = (
        "a: 1\nb: 2 # two\nlist:\n  - name: x\n    v: 1\n",
        "a: 2\nb: 3 # two\nlist:\n  - name: x\n    v: 2\n",
        "a: 1\nb: 4 # two\nlist:\n  - name: x\n    v: 3\n",
    );
    let conflict = Conflict::new("a.yaml", Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
    let open = fields(&conflict);
    assert_eq!(open.iter().map(|field| field.pointer.as_str()).collect::<Vec<_>>(), ["/b", "/list/name=x/v"]);
    assert_eq!(
        (open[0].base.as_deref(), open[0].hub.as_deref(), open[0].spoke.as_deref()),
        (Some("2"), Some("3"), Some("4"))
    );
    let mut choices = BTreeMap::from([("/b".to_owned(), FieldChoice::Spoke)]);
    assert_eq!(apply_fields(&conflict, &choices), Err(ApplyError::StillOpen(vec!["/list/name=x/v".to_owned()])));
    choices.insert("/list/name=x/v".to_owned(), FieldChoice::Value("7".to_owned()));
    let value = apply_fields(&conflict, &choices).unwrap();
    assert_eq!(text(&value), "a: 2\nb: 4 # two\nlist:\n  - name: x\n    v: 7\n");
    choices.insert("/nowhere".to_owned(), FieldChoice::Hub);
    assert_eq!(apply_fields(&conflict, &choices), Err(ApplyError::Unknown("/nowhere".to_owned())));
}

#[test]
fn a_chosen_text_becomes_a_string_where_it_has_to() {
    let conflict = Conflict::new("a.json", Some(b"{\"v\":\"1\"}"), b"{\"v\":\"2\"}", b"{\"v\":\"3\"}");
    for (value, expect) in [("two words", "{\"v\":\"two words\"}"), ("[1]", "{\"v\":[1]}"), ("\"", "{\"v\":\"\\\"\"}")]
    {
        let choices = BTreeMap::from([("/v".to_owned(), FieldChoice::Value(value.to_owned()))]);
        assert_eq!(text(&apply_fields(&conflict, &choices).unwrap()), expect);
    }
    // A value cannot smuggle in other keys.
    let choices = BTreeMap::from([("/v".to_owned(), FieldChoice::Value("1,\"w\":2".to_owned()))]);
    assert_eq!(text(&apply_fields(&conflict, &choices).unwrap()), "{\"v\":\"1,\\\"w\\\":2\"}");
}

#[test]
fn deleting_choices_delete() {
    let (base, hub, spoke) = ("a = 1\nb = 1\n", "a = 1\n", "a = 1\nb = 2\n");
    let conflict = Conflict::new("a.toml", Some(base.as_bytes()), hub.as_bytes(), spoke.as_bytes());
    for (choice, expect) in [(FieldChoice::Hub, "a = 1\n"), (FieldChoice::Spoke, spoke), (FieldChoice::Base, base)] {
        let choices = BTreeMap::from([("/b".to_owned(), choice)]);
        assert_eq!(text(&apply_fields(&conflict, &choices).unwrap()), expect);
    }
}

#[test]
fn policies_decide_what_no_merge_settles() {
    let conflict = Conflict::new("a.txt", Some(b"a\n"), b"b\n", b"c\n");
    for (policy, expect) in
        [(Policy::Hub, Some(&b"b\n"[..])), (Policy::Spoke, Some(b"c\n")), (Policy::Queue, None), (Policy::Union, None)]
    {
        let resolution = Chain::with_policy(policy).resolve(&conflict).resolution;
        assert_eq!(resolution.resolved().map(|candidate| candidate.value.as_slice()), expect, "{policy:?}");
    }
    let ignore = Conflict::new(".gitignore", Some(b"a\nb\n"), b"a\nb\nh\n", b"a\nb\ns\n");
    let resolution = Chain::with_policy(Policy::Union).resolve(&ignore).resolution;
    assert_eq!(text(&resolution.resolved().unwrap().value), "a\nb\nh\ns\n");
}

#[test]
fn a_workflow_step_changed_here_and_another_there_merge() {
    let base = "jobs:\n  test:\n    steps:\n      - name: checkout\n        uses: actions/checkout@v3\n      - name: build\n        run: cargo build\n";
    let hub = base.replace("@v3", "@v4");
    let spoke = base.replace("cargo build", "cargo build --locked");
    let expect = hub.replace("cargo build", "cargo build --locked");
    merged(".github/workflows/ci.yml", base, &hub, &spoke, &expect);
}

#[test]
fn adjacent_keys_merge_where_lines_do_not() {
    merged(
        "a.json",
        "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
        "{\n  \"a\": 5,\n  \"b\": 2\n}\n",
        "{\n  \"a\": 1,\n  \"b\": 6\n}\n",
        "{\n  \"a\": 5,\n  \"b\": 6\n}\n",
    );
    merged(
        "Cargo.toml",
        "[package]\nname = \"x\"\nversion = \"1\"\n\n[dependencies]\na = \"1\"\nb = \"1\"\n",
        "[package]\nname = \"x\"\nversion = \"1\"\n\n[dependencies]\na = \"2\"\nb = \"1\"\n",
        "[package]\nname = \"x\"\nversion = \"1\"\n\n[dependencies]\na = \"1\"\nb = \"2\"\n",
        "[package]\nname = \"x\"\nversion = \"1\"\n\n[dependencies]\na = \"2\"\nb = \"2\"\n",
    );
    // The last member goes on one side, its neighbour changes on the other: commas are repaired.
    merged(
        "a.json",
        "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
        "{\n  \"a\": 1\n}\n",
        "{\n  \"a\": 7,\n  \"b\": 2\n}\n",
        "{\n  \"a\": 7\n}\n",
    );
}

#[test]
fn entries_of_a_cargo_lock_are_told_apart_by_name_and_version() {
    let entry = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
    let file = |entries: &[(&str, &str)]| -> String { entries.iter().map(|(n, v)| entry(n, v)).collect() };
    let base = file(&[("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")]);
    let hub = file(&[("a", "1"), ("a1", "3"), ("b", "1"), ("b", "2"), ("c", "1")]);
    let spoke = file(&[("a", "1"), ("aa", "7"), ("b", "2"), ("c", "1")]);
    let expect = file(&[("a", "1"), ("a1", "3"), ("aa", "7"), ("b", "2"), ("c", "1")]);
    assert_eq!(suggested("Cargo.lock", &base, &hub, &spoke, &expect), Pattern::LockEntry);
}

#[test]
fn a_raised_version_on_both_sides_is_open_with_the_higher_first() {
    let file = |version: &str| format!("{{\n  \"name\": \"x\",\n  \"version\": \"{version}\"\n}}\n");
    let pattern = suggested("package.json", &file("1.9.0"), &file("1.9.1"), &file("1.10.0"), &file("1.10.0"));
    assert_eq!(pattern, Pattern::VersionBoth);
}

#[test]
fn merge_file_answers_with_the_exit_code_of_the_command() {
    let done = merge_file(Some(b"a\nb\nc\n"), b"A\nb\nc\n", b"a\nb\nC\n", "x.txt");
    assert_eq!((done.exit_code(), done.merged.as_deref()), (0, Some(&b"A\nb\nC\n"[..])));
    let open = merge_file(Some(b"a\n"), b"b\n", b"c\n", "x.txt");
    assert_eq!((open.exit_code(), open.merged), (11, None));
    assert_eq!(open.outcome.trace.last().unwrap().resolver, "queue@1");
}
