//! `conflicts list|show|resolve|undo`: the inbox.

mod choices;
mod sides;

use std::collections::BTreeMap;

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::{ConflictId, Digest};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::plan::{Answer, Choice, FieldDispute};
use cathedral_model::ports::Content;
use cathedral_model::run::RunSummary;
use cathedral_model::typed::Typed;
use cathedral_syncers::git::disputed_files;

use super::super::args::{ConflictList, ConflictsCommand, Global, Take};
use super::super::output::{Tint, many, safe};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::HubEnv;

/// So many rows that are decided together with a conflict are shown.
const GROUP: usize = 20;

/// `conflicts` with the options of its list is the list.
pub async fn run(own: ConflictList, what: Option<ConflictsCommand>, global: &Global, output: &Output) -> Ended {
    let is_own = own.all || own.spoke.is_some();
    match what.unwrap_or(ConflictsCommand::List(ConflictList::default())) {
        ConflictsCommand::List(given) => {
            let spoke = given.spoke.or(own.spoke);
            list(given.all || own.all, spoke.as_deref(), global, output).await
        }
        _ if is_own => Err(Failure::new(2, "C1201", "a spoke and --all belong to the list, not to another command")
            .why("they choose what the list shows")
            .next("cathedral conflicts --all")
            .next("cathedral conflicts show ID")),
        ConflictsCommand::Show { id, full } => show(ConflictId(id), full, global, output).await,
        ConflictsCommand::Resolve { id, take, field, file, no_sync } => {
            let answer = Asked { take, field, file: file.map(|file| super::at(global, &file)) };
            resolve(ConflictId(id), answer, no_sync, global, output).await
        }
        ConflictsCommand::Undo { id, no_sync } => {
            let (hub, bar) = super::hub(global, output).await?;
            let record = known(hub.store().conflict(ConflictId(id)).await?, id)?;
            if record.state != ConflictState::Settled {
                return Err(Failure::new(
                    7,
                    "C1701",
                    format!("conflict {id} is {}, not settled", record.state.as_str()),
                )
                .why("there is no answer that was carried out and could be taken back; nothing was changed")
                .next(match record.state {
                    ConflictState::Open => format!("cathedral conflicts resolve {id} --take hub|spoke    answers it"),
                    ConflictState::Answered => {
                        format!("cathedral conflicts resolve {id} --take hub|spoke    answers otherwise instead")
                    }
                    _ => format!("cathedral conflicts show {id}"),
                }));
            }
            let ended = carry_out(&hub, ConflictId(id), Answer::Undo, no_sync, output).await;
            bar.finish();
            ended
        }
    }
}

struct Asked {
    take: Option<Take>,
    field: Vec<String>,
    file: Option<std::path::PathBuf>,
}

fn json(record: &ConflictRecord) -> serde_json::Value {
    let draft = &record.draft;
    let mut out = record.shown();
    if let (SpokeKind::Git, Some(object)) = (record.kind, out.as_object_mut()) {
        let (files, more) = disputed_files(draft);
        let file =
            |f: &FieldDispute| serde_json::json!({ "path": f.field, "base": f.base, "hub": f.hub, "spoke": f.spoke });
        object.insert("files".into(), files.iter().map(file).collect());
        object.insert("more_files".into(), more.into());
    }
    out
}

async fn list(all: bool, spoke: Option<&str>, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let states: &[ConflictState] = if all { &[] } else { &[ConflictState::Open, ConflictState::Answered] };
    let store = site.store().await?;
    let found = match &store {
        Some(store) => store.conflicts(None, if spoke.is_some() { &[] } else { states }).await?,
        None => vec![],
    };
    if let Some(name) = spoke {
        let declared = crate::hub::resolve(&site)?.0.spokes.into_iter().map(|s| s.name.to_string());
        // A spoke that is no longer declared may still have conflicts.
        let known: std::collections::BTreeSet<String> =
            declared.chain(found.iter().map(|r| r.spoke.to_string())).collect();
        if !known.contains(name) {
            return Err(Failure::unknown("spoke", name, &known.into_iter().collect::<Vec<_>>()));
        }
    }
    let records: Vec<ConflictRecord> = found
        .into_iter()
        .filter(|r| spoke.is_none_or(|name| r.spoke.as_str() == name))
        .filter(|r| states.is_empty() || states.contains(&r.state))
        .collect();
    let conflicts: Vec<_> = records.iter().map(json).collect();
    output.data("conflicts", &serde_json::json!({ "conflicts": conflicts }), &[]);
    let waiting = records.iter().filter(|r| r.state == ConflictState::Open).count();
    if records.is_empty() {
        output.note(format!("{} no conflicts", output.paint(Tint::Good, output.symbol("●", "ok"))));
        return Ok(0);
    }
    let now = HubEnv::clock();
    let mut table = Table::new(&["ID", "SPOKE", "KIND", "WHERE", "OPENED", "STATE"]);
    for record in &records {
        table.row(vec![
            record.id.to_string(),
            record.spoke.to_string(),
            record.draft.conflict_kind.clone(),
            safe(&record.draft.place),
            when::ago(record.opened_at, now),
            match (record.state, &record.answer) {
                (ConflictState::Settled, Some(Answer::With(other))) => format!("settled with {other}"),
                (ConflictState::Answered, Some(Answer::With(other))) => format!("answered with {other}"),
                (state, _) => state.as_str().to_owned(),
            },
        ]);
    }
    if !output.is_machine() {
        table.print(output);
        if waiting > 0 {
            let first = records.iter().find(|r| r.state == ConflictState::Open).map_or(0, |r| r.id.0);
            output.note(output.paint(Tint::Dim, &format!("next: cathedral conflicts show {first}")));
        }
    }
    Ok(if waiting > 0 { 11 } else { 0 })
}

fn known(record: Option<ConflictRecord>, id: i64) -> Result<ConflictRecord, Failure> {
    record.ok_or_else(|| Failure::new(4, "C1404", format!("there is no conflict {id}")).next("cathedral conflicts"))
}

async fn show(id: ConflictId, full: bool, global: &Global, output: &Output) -> Ended {
    let site = super::site(global)?;
    let stores = site.readable_stores().await?;
    let record = match &stores {
        Some(stores) => stores.store.conflict(id).await?,
        None => None,
    };
    let record = known(record, id.0)?;
    output.data("conflict", &serde_json::json!({ "conflict": json(&record) }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    let draft = &record.draft;
    output.say(format!(
        "conflict {id} in {}: {}   {}",
        record.spoke,
        output.paint(Tint::Bold, &safe(&draft.place)),
        draft.conflict_kind
    ));
    output.sentence(&format!("  {}", safe(&draft.because)));
    output.say(format!("  {}", stands(&record)));
    if draft.fields.is_empty() || record.kind == SpokeKind::Git {
        sides::tell(&site, &record, full, output);
    } else {
        tell_fields("FIELD", &draft.fields, output);
    }
    let shown = if full { draft.group.len() } else { GROUP };
    for row in draft.group.iter().take(shown) {
        output.say(format!("decided together with {}", output.paint(Tint::Bold, &safe(&row.place))));
        tell_fields("FIELD", &row.fields, output);
    }
    if let more @ 1.. = draft.group.len().saturating_sub(shown) {
        let rows = many(more as u64, "more row", "more rows");
        output.say(format!("and with {rows}; cathedral conflicts show {id} --full    shows them"));
    }
    if record.kind == SpokeKind::Git {
        let (files, more) = disputed_files(draft);
        if !files.is_empty() {
            tell_fields("FILE", files, output);
        }
        if more > 0 {
            output.say(format!("and {}", many(more as u64, "more file", "more files")));
        }
    }
    if record.kind == SpokeKind::Git
        && let (Some(hub), Some(spoke)) = (&draft.hub, &draft.spoke)
        && [hub, spoke].iter().all(|v| v.shown.len() >= 40 && v.shown.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        let store = crate::hub::shown(&site.state.join("git").join(format!("{}.git", record.spoke)));
        output.note(output.paint(Tint::Dim, &format!("look: git -C {store} diff {} {}", hub.shown, spoke.shown)));
    }
    if record.state == ConflictState::Open && draft.conflict_kind == "schema" {
        output.note(output.paint(Tint::Dim, &outside(&record)));
    } else if let (ConflictState::Open, Some(stores)) = (record.state, &stores) {
        choices::tell(&site, stores, &record, output).await;
    } else if let (ConflictState::Settled, Some(stores)) = (record.state, &stores) {
        choices::tell_undo(&site, stores, &record, output).await;
    } else if record.state == ConflictState::Answered {
        let next = format!("next: cathedral sync {}    carries the answer out", record.spoke);
        output.note(output.paint(Tint::Dim, &next));
    }
    Ok(0)
}

/// Says what to do about tables and what belongs to them: an answer decides rows only.
fn outside(record: &ConflictRecord) -> String {
    let (draft, spoke) = (&record.draft, &record.spoke);
    let has = (draft.hub.is_some(), draft.spoke.is_some());
    // A copy of the side that still has the table: what is put back without rows would delete them there.
    let dropped = |kept: &str, gone: &str, part: &str| {
        format!(
            "next: drop the table on the {kept} as well, or put it back on the {gone} with its rows (cathedral restore \
             latest {spoke}{part} --to DIR    gives a copy of the {kept}'s database to take it from), then cathedral \
             sync {spoke}"
        )
    };
    match (&draft.table, has) {
        (Some(_), (false, true)) => dropped("spoke", "hub", "@spoke"),
        (Some(_), (true, false)) => dropped("hub", "spoke", ""),
        (Some(_), _) => format!(
            "next: give the table the same columns on both sides with the database's own means, then cathedral sync \
             {spoke}"
        ),
        (None, _) => {
            format!("next: make both sides agree with the database's own means, then cathedral sync {spoke}")
        }
    }
}

/// Says since when a conflict stands as it does.
fn stands(record: &ConflictRecord) -> String {
    let (opened, changed) = (when::local(record.opened_at), when::local(record.changed_at));
    let with = if let Some(Answer::With(other)) = &record.answer { Some(other.to_string()) } else { None };
    match record.state {
        ConflictState::Open => format!("open since {opened}"),
        ConflictState::Answered if record.answer == Some(Answer::Undo) => {
            format!("to be undone since {changed}, which no run has done yet; opened {opened}")
        }
        ConflictState::Answered if with.is_some() => {
            format!("answered {changed} together with conflict {}, opened {opened}", with.unwrap_or_default())
        }
        ConflictState::Settled if with.is_some() => {
            format!("settled {changed} together with conflict {}, opened {opened}", with.unwrap_or_default())
        }
        ConflictState::Answered => format!("answered {changed}, which no run has carried out yet; opened {opened}"),
        ConflictState::Settled => format!("settled {changed}, opened {opened}"),
        ConflictState::AgreedOutside => format!("agreed_outside {changed}, opened {opened}"),
    }
}

fn tell_fields(name: &'static str, fields: &[FieldDispute], output: &Output) {
    let mut table = Table::new(&[name, "BASE", "HUB", "SPOKE"]);
    for field in fields {
        table.row(vec![safe(&field.field), safe(&field.base), safe(&field.hub), safe(&field.spoke)]);
    }
    table.print(output);
}

async fn resolve(id: ConflictId, asked: Asked, no_sync: bool, global: &Global, output: &Output) -> Ended {
    if asked.take.is_none() && asked.field.is_empty() && asked.file.is_none() {
        return Err(Failure::new(2, "C1201", format!("how to decide conflict {id} is not said"))
            .why("the full-screen merge view is not available yet")
            .next(format!("cathedral conflicts show {id}"))
            .next(format!("cathedral conflicts resolve {id} --take hub|spoke|base|suggested"))
            .next(format!("cathedral conflicts resolve {id} --field NAME=VALUE    or --file PATH")));
    }
    let (hub, bar) = super::hub(global, output).await?;
    let record = known(hub.store().conflict(id).await?, id.0)?;
    no_longer_waits(&record)?;
    let answer = answer(&record, asked, hub.content.as_ref())?;
    let ended = carry_out(&hub, id, answer, no_sync, output).await;
    bar.finish();
    ended
}

/// Refuses an answer to a conflict that is decided, and says what can be done instead.
fn no_longer_waits(record: &ConflictRecord) -> Result<(), Failure> {
    let id = record.id;
    let refused =
        |what: &str| Failure::new(7, "C1701", format!("conflict {id} is {what}: it no longer waits for an answer"));
    let take_back =
        |id: ConflictId| format!("cathedral conflicts undo {id}    takes the answer back, then answer again");
    match (record.state, &record.answer) {
        (ConflictState::Open | ConflictState::Answered, _) => Ok(()),
        (ConflictState::Settled, Some(Answer::With(other))) => Err(refused("settled")
            .why(format!("the answer to conflict {other} decided it, too; nothing was changed"))
            .next(take_back(*other))),
        (ConflictState::Settled, _) => {
            Err(refused("settled").why("its answer is in place on both sides; nothing was changed").next(take_back(id)))
        }
        (ConflictState::AgreedOutside, _) => Err(refused("agreed_outside")
            .why("both sides became the same without an answer, so there is nothing to decide; nothing was changed")
            .next("change it on either side, then cathedral sync    brings it to the other")),
    }
}

fn answer(record: &ConflictRecord, asked: Asked, content: &dyn Content) -> Result<Answer, Failure> {
    if let Some(path) = asked.file {
        let mut file = std::fs::File::open(&path).map_err(|e| Failure::read(&path, &e))?;
        let (id, _): (Digest, u64) = content.put_from(&mut file)?;
        return Ok(Answer::Content(id));
    }
    if !asked.field.is_empty() {
        let mut fields = BTreeMap::new();
        for text in asked.field {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Failure::new(2, "C1201", format!("--field {text:?} has no `=`"))
                    .next("--field NAME=VALUE, or --field NAME=@hub|@spoke|@base|@null")
            })?;
            if let Err(slip) = Typed::read(value) {
                let failure = Failure::new(2, "C1201", format!("--field {text:?} is neither a side nor a text"))
                    .why(format!("{slip}; nothing was recorded or changed"));
                return Err(match slip.nearest {
                    Some(word) => failure.next(format!("--field {key}={word}    if that was meant")),
                    None => failure,
                }
                .next(format!("--field {key}=@{value}    writes {value}")));
            }
            fields.insert(key.to_owned(), value.to_owned());
        }
        // Of a merge in git all files are decided at once.
        if record.draft.fields.is_empty() || record.kind == SpokeKind::Git {
            return Err(Failure::new(2, "C1201", format!("conflict {} is not decided field by field", record.id))
                .why(format!("{} is one thing", safe(&record.draft.place)))
                .next(format!("cathedral conflicts resolve {} --take hub|spoke|base    or --file PATH", record.id)));
        }
        let known: Vec<String> = record.draft.fields.iter().map(|f| f.field.clone()).collect();
        if let Some(wrong) = fields.keys().find(|k| !known.is_empty() && !known.contains(k)) {
            return Err(Failure::unknown("disputed field", wrong, &known));
        }
        return Ok(Answer::Fields(fields));
    }
    let take = asked.take.unwrap_or(Take::Hub);
    if take == Take::Suggested && record.draft.suggested.is_none() {
        return Err(Failure::new(2, "C1201", format!("conflict {} has no suggestion", record.id))
            .next(format!("cathedral conflicts resolve {} --take hub|spoke|base", record.id)));
    }
    Ok(Answer::Take(match take {
        Take::Hub => Choice::Hub,
        Take::Spoke => Choice::Spoke,
        Take::Base => Choice::Base,
        Take::Suggested => Choice::Suggested,
    }))
}

async fn carry_out(hub: &crate::hub::Hub, id: ConflictId, answer: Answer, no_sync: bool, output: &Output) -> Ended {
    let actor = super::super::actor();
    super::sync::tell_unfinished(hub, output).await?;
    let (record, request) = hub.engine.answer(id, &answer, &actor).await?;
    if no_sync {
        output.data("conflict", &serde_json::json!({ "conflict": json(&record) }), &[]);
        output.note(format!("recorded; `cathedral sync {}` carries it out", record.spoke));
        return Ok(0);
    }
    let run = hub.engine.submit(&request).await?.run();
    let summary = hub.work_until(run).await?;
    let record = known(hub.store().conflict(id).await?, id.0)?;
    let left = hub.store().conflicts(None, &[ConflictState::Open]).await?.len() as u64;
    output.data(
        "conflict",
        &serde_json::json!({ "conflict": json(&record), "run": run, "result": summary.result }),
        &[],
    );
    let done = match (&answer, record.state) {
        (Answer::Undo, ConflictState::Open) => Some("undone: both sides are as they were"),
        (Answer::Undo, _) => None,
        (_, ConflictState::Settled) => Some("settled"),
        _ => None,
    };
    let Some(done) = done else {
        if record.state == ConflictState::Answered {
            return Err(held_back(hub, &record, &summary));
        }
        let note = summary.spokes.iter().find(|s| s.name == record.spoke).map(|s| safe(&s.note)).unwrap_or_default();
        let is_undo = answer == Answer::Undo;
        let why = match (is_undo, note.is_empty()) {
            (true, true) => "a side is no longer what the answer left".to_owned(),
            (false, true) => "a side has changed since; look at it again".to_owned(),
            (_, false) => note,
        };
        let stands = match record.state {
            ConflictState::Settled if is_undo => "its answer stays in place".to_owned(),
            ConflictState::Open if !is_undo => "it is open again".to_owned(),
            state => format!("it is {}", state.as_str()),
        };
        let wanted = if is_undo { "undone" } else { "settled" };
        return Err(Failure::new(12, "C1203", format!("conflict {id} is not {wanted}: {stands}"))
            .why(why)
            .next(format!("cathedral conflicts show {id}"))
            .next(format!("cathedral run show {run}")));
    };
    let together = hub.store().conflicts(Some(&record.spoke), &[ConflictState::Settled]).await?;
    let together = together.iter().filter(|r| answer != Answer::Undo && r.answer == Some(Answer::With(id)));
    let together: Vec<String> = together.map(|r| r.id.to_string()).collect();
    let done = match together.as_slice() {
        [] => done.to_owned(),
        [one] => format!("{done}, and with it conflict {one} about the same rows"),
        all => format!("{done}, and with it conflicts {} about the same rows", all.join(", ")),
    };
    let rest = if left > 0 { format!("; {} left", many(left, "conflict is", "conflicts are")) } else { String::new() };
    output
        .note(format!("{} conflict {id} {done} (run {run}){rest}", output.paint(Tint::Good, output.symbol("●", "ok"))));
    Ok(0)
}

/// The answer is recorded, and the run did not come to carry it out.
fn held_back(hub: &crate::hub::Hub, record: &ConflictRecord, summary: &RunSummary) -> Failure {
    let (id, spoke) = (record.id, &record.spoke);
    let found = summary.spokes.iter().find(|s| s.name == *spoke);
    let is_limit = found.is_some_and(|s| s.result == "refused");
    let note = found.map(|s| safe(&s.note)).filter(|note| !note.is_empty());
    let why = note.unwrap_or_else(|| "the run did not come to it".to_owned());
    let (code, entry) = if is_limit { (7, "C1701") } else { (12, "C1203") };
    let stopped = if is_limit {
        "a limit stopped the run before anything was written"
    } else {
        "it is not in place on both sides yet"
    };
    let title = format!("the answer to conflict {id} is recorded and not carried out: {stopped}");
    let failure = Failure::new(code, entry, title).why(why);
    let failure = if is_limit {
        let name = &hub.engine.ecosystem().name;
        failure.next(format!("cathedral sync {spoke} --yes {name}    confirms it, and carries the answer out"))
    } else {
        failure.next(format!("cathedral sync {spoke}    carries it out"))
    };
    if record.answer == Some(Answer::Undo) {
        return failure
            .next(format!("cathedral conflicts resolve {id} --take hub    keeps what the answer left instead"));
    }
    failure.next(format!("cathedral conflicts resolve {id} --take hub|spoke|base    answers otherwise"))
}
