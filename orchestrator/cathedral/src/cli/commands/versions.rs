//! `config versions|diff|rollback`: every configuration that was in force, and the way back.

use std::fs;
use std::path::PathBuf;

use cathedral_model::config::Severity;
use cathedral_model::ports::versions::ConfigVersion;
use hyper::Method;
use serde_json::json;

use super::super::args::Global;
use super::super::output::{Tint, safe};
use super::super::table::Table;
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{FileLookup, HubEnv, Site, Stores, capabilities, invalid, replace_file, shown, stores_without_config};
use crate::remote::Remote;

/// As many as are ever looked through.
const MOST: u32 = 1_000;

/// A hub's folder with what its state has kept.
struct Kept {
    root: PathBuf,
    file: PathBuf,
    text: String,
    stores: Option<Stores>,
    /// Newest first.
    versions: Vec<ConfigVersion>,
}

/// Reads it, also when the file does not load: that is when an earlier version is needed.
async fn kept(global: &Global) -> Result<Kept, Failure> {
    let start = super::folder(global);
    let (root, file) = Site::locate(&start, global.config.as_deref())?;
    let stores = match Site::find(&start, global.config.as_deref()) {
        Ok(site) => site.stores().await?,
        Err(failure) if failure.code == 3 => match stores_without_config(&root).await? {
            None => return Err(failure),
            stores => stores,
        },
        Err(failure) => return Err(failure),
    };
    let bytes = fs::read(&file).map_err(|e| Failure::read(&file, &e))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let versions = match &stores {
        Some(stores) => stores.versions.config_versions(MOST).await?,
        None => vec![],
    };
    Ok(Kept { root, file, text, stores, versions })
}

pub async fn list(limit: u32, global: &Global, output: &Output) -> Ended {
    let Kept { text, versions, .. } = kept(global).await?;
    let now = HubEnv::clock();
    let shown: Vec<_> = versions
        .iter()
        .take(limit as usize)
        .map(|v| {
            json!({
                "number": v.number, "digest": v.digest, "accepted_at": v.accepted_at.to_rfc3339(),
                "cause": v.cause, "is_the_file": v.text == text,
            })
        })
        .collect();
    output.data("config-versions", &json!({ "versions": shown }), &[]);
    if output.is_machine() {
        return Ok(0);
    }
    let mut table = Table::new(&["NO", "WHEN", "BY", "THE FILE"]);
    for version in versions.iter().take(limit as usize) {
        let is_file = if version.text == text { "yes" } else { "" };
        table.row(vec![
            version.number.to_string(),
            when::ago(version.accepted_at, now),
            safe(&version.cause),
            is_file.into(),
        ]);
    }
    if table.is_empty() {
        output.say("no version was kept yet; cathedral sync and cathedral up keep each one they use");
    } else {
        table.print(output);
    }
    Ok(0)
}

fn find(versions: &[ConfigVersion], number: i64) -> Result<&ConfigVersion, Failure> {
    versions.iter().find(|v| v.number == number).ok_or_else(|| {
        Failure::new(4, "C1404", format!("there is no version {number} of the configuration"))
            .next("cathedral config versions")
    })
}

/// Compares two versions; without numbers the newest that was in force with the file.
pub async fn diff(from: Option<i64>, to: Option<i64>, global: &Global, output: &Output) -> Ended {
    let Kept { file, text, versions, .. } = kept(global).await?;
    let old = match from {
        Some(number) => find(&versions, number)?,
        None => versions.first().ok_or_else(|| {
            Failure::new(4, "C1404", "no version of the configuration was kept yet")
                .why("a version is kept when `cathedral sync` or `cathedral up` uses it")
                .next("cathedral config validate")
        })?,
    };
    let (new, name) = match to {
        Some(number) => (find(&versions, number)?.text.as_str(), format!("version {number}")),
        None => (text.as_str(), shown(&file)),
    };
    let is_same = old.text == new;
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(format!("version {}", old.number)).set_modified_filename(name.clone());
    let patch = options.create_patch(&old.text, new).to_string();
    let told = json!({ "from": old.number, "to": to, "is_same": is_same, "patch": if is_same { "" } else { &patch } });
    output.data("config-diff", &told, &[]);
    if is_same {
        output.note(format!("{name} says what version {} says", old.number));
        return Ok(0);
    }
    for line in patch.lines() {
        let tint = match line.as_bytes().first() {
            Some(b'+') => Some(Tint::Good),
            Some(b'-') => Some(Tint::Bad),
            _ => None,
        };
        let line = safe(line);
        output.say(tint.map_or_else(|| line.clone(), |tint| output.paint(tint, &line)));
    }
    Ok(10)
}

/// Puts a version back in place of the file; what the file says now is kept as a version before.
pub async fn rollback(number: i64, global: &Global, output: &Output) -> Ended {
    let Kept { root, file, text, stores, versions } = kept(global).await?;
    let wanted = find(&versions, number)?.clone();
    if wanted.text == text {
        output.data("config-rollback", &json!({ "version": number, "changed": false }), &[]);
        output.note(format!("{} says what version {number} says already", shown(&file)));
        return Ok(0);
    }
    let name = format!("version {number}");
    let lookup = FileLookup { root: root.clone() };
    let problems = cathedral_model::config::validate(&wanted.text, &name, &lookup, &capabilities());
    let wrong: Vec<_> = problems.into_iter().filter(|p| p.severity != Severity::Warning).collect();
    if !wrong.is_empty() {
        return Err(invalid(&name, &wrong));
    }
    let stores = stores.ok_or_else(|| Failure::new(4, "C1404", "the hub has no state here"))?;
    stores.versions.accept_config(&text, &format!("as it was before a rollback to {number}"), HubEnv::clock()).await?;
    match Remote::within(&root.join(".cathedral")).await {
        Some(remote) => {
            remote.ask(Method::PUT, "/api/v1/config", Some(&json!({ "text": wanted.text }))).await?;
        }
        None => {
            replace_file(&file, wanted.text.as_bytes())?;
            let (hub, bar) = super::hub(global, output).await?;
            hub.accept_config(&wanted.text, &format!("rollback to {number}, command line")).await?;
            bar.finish();
        }
    }
    output.data("config-rollback", &json!({ "version": number, "changed": true }), &[]);
    output.note(format!("{} says what version {number} said; what it said before is a version too", shown(&file)));
    output.note(output.paint(Tint::Dim, "next: cathedral config versions"));
    Ok(0)
}
