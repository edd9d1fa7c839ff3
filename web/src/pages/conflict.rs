//! `/conflicts/{id}`: what differs, what is the safe answer.

use std::collections::BTreeMap;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use cathedral_model::access::Action;
use cathedral_model::ids::ConflictId;
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::plan::{Answer, Choice, FieldDispute, Grouped, SideValue};
use serde::Deserialize;

use super::act::{Fields, field};
use super::conflicts::{Item, answer_words, item};
use super::overview::Tab;
use super::part::{self, Html, capital, esc};
use super::{Frame, html_with};
use crate::auth::{Identity, Who};
use crate::problem::Problem;
use crate::routes::{Access, Routes, see};
use crate::state::Shared;
use value::{Text, check, code, fault, load, marked};

/// Of a content, so much is shown; the whole can be downloaded.
const SHOWN: usize = 64 << 10;
/// A result that can be edited on the page: a form has at most 1 MB, three bytes a letter when encoded.
const EDITABLE: usize = 256 << 10;
const LISTED: usize = 60;

mod value;

pub(crate) fn routes(routes: Routes) -> Routes {
    let (read, decide) = (Access::Needs(Action::ReadContents), Access::Needs(Action::AnswerConflict));
    routes
        .get("/conflicts/{conflict}", read, show)
        .get("/conflicts/{conflict}/content/{side}", read, download)
        .post("/conflicts/{conflict}/answer", decide, answer)
        .post("/conflicts/{conflict}/undo", decide, undo)
}

#[derive(Template)]
#[template(path = "pages/conflict.html")]
struct Page {
    frame: Frame,
    id: i64,
    spoke: String,
    place: Html,
    kind: String,
    because: String,
    opened: Html,
    opened_by: i64,
    versions: u32,
    is_open: bool,
    state_note: String,
    state_class: &'static str,
    can_undo: bool,
    can_answer: bool,
    /// Field by field: not when a side has removed the whole.
    can_choose: bool,
    needed: &'static str,
    open: Vec<Item>,
    fields: Vec<FieldRow>,
    undecided: usize,
    /// Rows that one answer moves together with this one.
    group: Vec<GroupRow>,
    panes: Vec<Pane>,
    suggested: String,
    has_suggestion: bool,
    has_base: bool,
    tabs: Vec<Tab>,
    result_title: &'static str,
    result: Vec<Html>,
    result_state: Html,
    is_editing: bool,
    edit_text: String,
    /// Why what was typed is not carried out; it is kept on the page.
    refused: String,
    /// It may be carried out as it is all the same.
    can_insist: bool,
    take: String,
    is_text: bool,
}

struct FieldRow {
    index: usize,
    name: Html,
    label: String,
    base: Html,
    hub: Html,
    spoke: Html,
    hub_changed: bool,
    spoke_changed: bool,
    chosen: &'static str,
    why: &'static str,
}

struct GroupRow {
    place: Html,
    fields: Vec<FieldRow>,
}

struct Pane {
    title: &'static str,
    shown: Html,
    lines: Vec<Html>,
    is_there: bool,
    note: String,
    link: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    take: String,
}

/// A value that a person typed and that is not carried out yet.
struct Typed {
    text: String,
    status: StatusCode,
    /// Why not; empty when it was only looked at.
    refused: String,
}

async fn known(state: &Shared, id: i64) -> Result<ConflictRecord, Problem> {
    let found = state.store.conflict(ConflictId(id)).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no conflict {id}")))
}

fn side<'a>(record: &'a ConflictRecord, name: &str) -> Option<&'a SideValue> {
    let draft = &record.draft;
    match name {
        "hub" => draft.hub.as_ref(),
        "spoke" => draft.spoke.as_ref(),
        "base" => draft.base.as_ref(),
        "suggested" => draft.suggested.as_ref(),
        _ => None,
    }
}

fn pane(
    title: &'static str,
    name: &'static str,
    id: i64,
    value: Option<&SideValue>,
    text: &Text,
    base: Option<&str>,
) -> Pane {
    let lines = text.text().map(|text| marked(base, text)).unwrap_or_default();
    let note = match text {
        Text::Nothing => "nothing is there".to_owned(),
        Text::Cut(_) => format!("the first {} are shown", part::size(SHOWN as u64)),
        Text::Binary => "this is no text".into(),
        Text::Lost(why) => why.clone(),
        Text::Short(_) => String::new(),
        Text::Whole(text) if text.is_empty() => "it is empty".into(),
        Text::Whole(_) => String::new(),
    };
    Pane {
        title,
        shown: part::name(value.map_or("", |v| v.shown.as_str())),
        lines,
        is_there: value.is_some(),
        note,
        link: if value.is_some_and(|v| v.content.is_some()) {
            format!("/conflicts/{id}/content/{name}")
        } else {
            String::new()
        },
    }
}

fn group_row(row: &Grouped) -> GroupRow {
    GroupRow { place: part::cut(&row.place), fields: row.fields.iter().enumerate().map(field_row).collect() }
}

fn field_row((index, f): (usize, &FieldDispute)) -> FieldRow {
    let (hub_changed, spoke_changed) = (f.hub != f.base, f.spoke != f.base);
    let (chosen, why) = match (hub_changed, spoke_changed) {
        (true, false) => ("@hub", "Only the hub changed it."),
        (false, true) => ("@spoke", "Only the spoke changed it."),
        (false, false) => ("@hub", "Nobody changed it."),
        _ if f.hub == f.spoke => ("@hub", "Both made the same change."),
        _ => ("", "Both changed it: this one needs a choice."),
    };
    FieldRow {
        index,
        name: part::cut(&f.field),
        label: f.field.chars().take(80).collect(),
        base: part::cut(&f.base),
        hub: part::cut(&f.hub),
        spoke: part::cut(&f.spoke),
        hub_changed,
        spoke_changed,
        chosen,
        why,
    }
}

/// The values that a row has when one side is taken as a whole.
fn row_of(record: &ConflictRecord, side_name: &str) -> Vec<Html> {
    if side(record, side_name).is_none() {
        return vec![];
    }
    let value = |f: &FieldDispute| match side_name {
        "hub" => Some(f.hub.clone()),
        "spoke" => Some(f.spoke.clone()),
        "base" => Some(f.base.clone()),
        _ => None,
    };
    let line = |(at, f): (usize, &FieldDispute)| {
        Some(code(at + 1, if value(f)? == f.base { "" } else { "m" }, &format!("{} = {}", f.field, value(f)?)))
    };
    record.draft.fields.iter().enumerate().filter_map(line).collect()
}

async fn show(
    State(state): State<Shared>,
    Who(who): Who,
    Path(id): Path<i64>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    page(&state, &who, id, &wanted.take, None).await
}

async fn page(
    state: &Shared,
    who: &Identity,
    id: i64,
    wanted: &str,
    typed: Option<Typed>,
) -> Result<Response, Problem> {
    let record = known(state, id).await?;
    let view = state.view().await?;
    let (now, draft) = (state.now(), &record.draft);
    let has_fields = !draft.fields.is_empty();
    let base = load(state, draft.base.as_ref(), SHOWN).await;
    let hub = load(state, draft.hub.as_ref(), SHOWN).await;
    let spoke = load(state, draft.spoke.as_ref(), SHOWN).await;
    // The content of a row is the syncer's own form: its fields tell more.
    let is_text = !has_fields && (hub.text().is_some() || spoke.text().is_some());
    let fallback = if draft.suggested.is_some() { "suggested" } else { "hub" };
    let take = match wanted {
        given @ ("hub" | "spoke" | "base" | "suggested")
            if given == "hub" || given == "spoke" || side(&record, given).is_some() =>
        {
            given
        }
        "edit" if is_text || typed.is_some() => "edit",
        _ => fallback,
    };
    let shown = if take == "edit" { fallback } else { take };
    let result = load(state, side(&record, shown), if take == "edit" { EDITABLE } else { SHOWN }).await;
    let (result, refused, status) = match typed {
        Some(typed) => (Text::Whole(typed.text), typed.refused, typed.status),
        None => (result, String::new(), StatusCode::OK),
    };
    let tab = |name: &str, key: &str| Tab {
        name: name.into(),
        href: format!("/conflicts/{id}?take={key}#result"),
        current: take == key,
    };
    let mut tabs = vec![];
    if draft.suggested.is_some() {
        tabs.push(tab("Suggested", "suggested"));
    }
    tabs.extend([tab("Hub", "hub"), tab("Spoke", "spoke")]);
    if draft.base.is_some() {
        tabs.push(tab("Before", "base"));
    }
    if is_text && matches!(result, Text::Whole(_)) {
        tabs.push(tab("Edit", "edit"));
    }
    let fields: Vec<FieldRow> = draft.fields.iter().enumerate().map(field_row).collect();
    let (state_note, state_class) = note(&record);
    let is_open = record.state == ConflictState::Open;
    let frame = Frame::of(state, Some(who), "conflicts")
        .with(&view)
        .at(&[("Conflicts", "/conflicts")], record.spoke.as_str())
        .live("conflict,run", record.state == ConflictState::Answered)
        .api(format!("/api/v1/conflicts/{id}"));
    let page = Page {
        id,
        spoke: record.spoke.to_string(),
        place: askama::filters::Safe(format!("<bdi>{}</bdi>", esc(&draft.place))),
        kind: draft.conflict_kind.replace('_', " "),
        because: capital(&draft.because),
        opened: part::ago(now, record.opened_at),
        opened_by: record.opened_by.0,
        versions: record.versions,
        is_open,
        state_note,
        state_class,
        can_undo: record.state == ConflictState::Settled && who.may(Action::AnswerConflict),
        can_answer: is_open && who.may(Action::AnswerConflict),
        can_choose: is_open && who.may(Action::AnswerConflict) && draft.hub.is_some() && draft.spoke.is_some(),
        needed: if is_open && !who.may(Action::AnswerConflict) { "operator" } else { "" },
        open: view.facts.conflicts.iter().take(LISTED).map(|r| item(now, r, Some(id))).collect(),
        undecided: if draft.hub.is_some() && draft.spoke.is_some() {
            fields.iter().filter(|f| f.chosen.is_empty()).count()
        } else {
            0
        },
        fields,
        group: draft.group.iter().map(group_row).collect(),
        panes: if has_fields {
            vec![]
        } else {
            vec![
                pane("Hub", "hub", id, draft.hub.as_ref(), &hub, base.text()),
                pane("Before", "base", id, draft.base.as_ref(), &base, None),
                pane("Spoke", "spoke", id, draft.spoke.as_ref(), &spoke, base.text()),
            ]
        },
        suggested: draft.suggested.as_ref().map(|s| s.shown.clone()).unwrap_or_default(),
        has_suggestion: draft.suggested.is_some(),
        has_base: draft.base.is_some(),
        tabs,
        result_title: match shown {
            "suggested" => "the suggestion",
            "spoke" => "the spoke's",
            "base" => "what was before",
            _ => "the hub's",
        },
        result_state: if has_fields && side(&record, shown).is_some() {
            part::mark("idle", "Constraints are checked when it is written")
        } else {
            check(&draft.place, &result)
        },
        result: match &result {
            _ if has_fields => row_of(&record, shown),
            Text::Short(text) => vec![code(1, "", text)],
            other => other.text().map(|text| marked(base.text(), text)).unwrap_or_default(),
        },
        is_editing: take == "edit",
        edit_text: if take == "edit" { result.text().unwrap_or_default().to_owned() } else { String::new() },
        can_insist: status == StatusCode::UNPROCESSABLE_ENTITY,
        refused,
        take: take.to_owned(),
        is_text,
        frame,
    };
    Ok(html_with(status, &page))
}

fn note(record: &ConflictRecord) -> (String, &'static str) {
    let by = record.actor.as_deref().unwrap_or("somebody");
    match record.state {
        ConflictState::Open if record.versions > 0 => {
            ("A side has changed since this conflict was opened; this is how it stands now.".into(), "warn")
        }
        ConflictState::Open => (String::new(), ""),
        ConflictState::Answered => (
            format!("{by} has answered: {}. The next run of {} carries it out.", answer_words(record), record.spoke),
            "run",
        ),
        ConflictState::Settled => {
            (format!("Settled. {by} {}, and both sides hold the result.", answer_words(record)), "ok")
        }
        ConflictState::AgreedOutside => {
            ("The sides became equal without an answer. Nothing is left to decide.".into(), "ok")
        }
    }
}

async fn download(State(state): State<Shared>, Path((id, name)): Path<(i64, String)>) -> Result<Response, Problem> {
    let record = known(&state, id).await?;
    let none = || Problem::not_found("that side has no content of its own");
    let digest = side(&record, &name).and_then(|value| value.content).ok_or_else(none)?;
    let content = state.content();
    let bytes = tokio::task::spawn_blocking(move || content.get(&digest)).await.map_err(|_| none())??;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"conflict-{id}-{name}\"")),
    ];
    Ok((headers, bytes).into_response())
}

/// The fields a form chose, by the names of the conflict's fields.
fn chosen(record: &ConflictRecord, fields: &Fields) -> Result<Answer, Problem> {
    let mut out = BTreeMap::new();
    for (index, dispute) in record.draft.fields.iter().enumerate() {
        let value = match field(fields, &format!("f{index}")) {
            "" => {
                return Err(Problem::bad_request("undecided", format!("{} is not decided", dispute.field))
                    .hint("go back and choose a value"));
            }
            "=" => {
                // The form has buttons for the words: what is typed is a text.
                cathedral_model::typed::Typed::written(field(fields, &format!("v{index}")))
            }
            side @ ("@hub" | "@spoke" | "@base") => side.to_owned(),
            _ => return Err(Problem::bad_request("side", "that is no side")),
        };
        out.insert(dispute.field.clone(), value);
    }
    Ok(Answer::Fields(out))
}

async fn answer(
    State(state): State<Shared>,
    Who(who): Who,
    Path(id): Path<i64>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let record = known(&state, id).await?;
    let versions =
        field(&fields, "versions").parse().map_err(|_| Problem::bad_request("versions", "the form is not whole"))?;
    let wanted = match field(&fields, "take") {
        "hub" => Answer::Take(Choice::Hub),
        "spoke" => Answer::Take(Choice::Spoke),
        "base" => Answer::Take(Choice::Base),
        "suggested" => Answer::Take(Choice::Suggested),
        "fields" => chosen(&record, &fields)?,
        take @ ("edit" | "check" | "insist") => {
            let text = typed(&state, &record, field(&fields, "text")).await;
            let why = fault(&record.draft.place, &text);
            let kept = |status, refused| Some(Typed { text: text.clone(), status, refused });
            match (take, why) {
                ("check", _) => return page(&state, &who, id, "edit", kept(StatusCode::OK, String::new())).await,
                ("edit", Some(why)) => {
                    let why = format!("{why}. Nothing was recorded; what you wrote is below.");
                    return page(&state, &who, id, "edit", kept(StatusCode::UNPROCESSABLE_ENTITY, why)).await;
                }
                _ => {}
            }
            let wanted = Answer::Content(state.content().put(text.as_bytes())?);
            return match decide(&state, &who, id, &wanted, Some(versions)).await {
                // Somebody else was quicker, or a side has moved: what was typed is not lost.
                Err(problem) if problem.status == StatusCode::CONFLICT => {
                    let hint = problem.hint.unwrap_or_default();
                    let why = format!("{}. {}. What you wrote is below.", capital(&problem.detail), capital(&hint));
                    page(&state, &who, id, "edit", kept(StatusCode::CONFLICT, why)).await
                }
                done => done,
            };
        }
        _ => return Err(Problem::bad_request("answer", "choose an answer")),
    };
    decide(&state, &who, id, &wanted, Some(versions)).await
}

/// What was typed, with the ends of lines that the value had: browsers send CR LF.
async fn typed(state: &Shared, record: &ConflictRecord, text: &str) -> String {
    let had = match load(state, record.draft.hub.as_ref().or(record.draft.spoke.as_ref()), EDITABLE).await {
        Text::Whole(text) => text.contains("\r\n"),
        _ => false,
    };
    if had { text.to_owned() } else { text.replace("\r\n", "\n") }
}

async fn undo(State(state): State<Shared>, Who(who): Who, Path(id): Path<i64>) -> Result<Response, Problem> {
    decide(&state, &who, id, &Answer::Undo, None).await
}

async fn decide(
    state: &Shared,
    who: &Identity,
    id: i64,
    wanted: &Answer,
    versions: Option<u32>,
) -> Result<Response, Problem> {
    let record = known(state, id).await?;
    let seen = || see(&format!("/conflicts/{id}"));
    // The same answer by the same person, sent twice: a double click, or the form after going back.
    let is_same = |record: &ConflictRecord| {
        matches!(record.state, ConflictState::Answered | ConflictState::Settled)
            && record.answer.as_ref() == Some(wanted)
            && record.actor.as_deref() == Some(who.name.as_str())
    };
    if is_same(&record) {
        return Ok(seen());
    }
    let asks_undo = matches!(wanted, Answer::Undo);
    if !asks_undo && !matches!(record.state, ConflictState::Open | ConflictState::Answered) {
        let by = record.actor.as_deref().unwrap_or("somebody");
        return Err(Problem::conflict(
            "answered",
            format!("{by} has settled this meanwhile: {}", answer_words(&record)),
        )
        .hint(format!("look at conflict {id} again; a settled answer can be undone")));
    }
    match crate::api::conflicts::carry_out(state, who, id, wanted, versions).await {
        Err(problem) if problem.status == StatusCode::CONFLICT && is_same(&known(state, id).await?) => Ok(seen()),
        done => done.map(|_| seen()),
    }
}
