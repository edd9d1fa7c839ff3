//! `doctor`: each line says what was tried and how to fix what failed.

mod agreed;
mod keys;
mod notes;
mod stores;
mod without;

use cathedral_backup::LocalVault;
use cathedral_model::ecosystem::{Ecosystem, SpokeKind};
use cathedral_model::observation::Observation;
use cathedral_model::ports::Vault as _;

use super::super::args::Global;
use super::super::output::{Tint, many, safe};
use super::super::when;
use super::{Ended, Failure, Output};
use crate::hub::{Hub, HubEnv, Site};

struct Line {
    ok: bool,
    what: String,
    fix: String,
    /// The exit code when it is not as it should be.
    code: u8,
}

impl Line {
    fn good(what: String, note: String) -> Self {
        Self { ok: true, what, fix: note, code: 0 }
    }

    fn bad(code: u8, what: String, fix: &str) -> Self {
        Self { ok: false, what, fix: fix.into(), code }
    }
}

/// What is looked at. Without a state that can be read, all that needs none of it.
struct Bench<'a> {
    site: &'a Site,
    ecosystem: &'a Ecosystem,
    vault: Option<&'a LocalVault>,
    /// None: the state database is damaged.
    hub: Option<&'a Hub>,
}

pub async fn run(fix: bool, global: &Global, output: &Output) -> Ended {
    let mut lines = vec![git()];
    let site = super::site(global)?;
    let (ecosystem, _) = crate::hub::resolve(&site)?;
    let keys = keys::look(&site, fix)?;
    let (hub, bar) = match super::hub(global, output).await {
        Ok((hub, bar)) => (Ok(hub), Some(bar)),
        // Whatever else is damaged is no reason to look no further.
        Err(failure) if failure.code == 20 => (Err(failure), None),
        Err(failure) => return Err(failure),
    };
    lines.push(Line::good(format!("configuration {}", crate::hub::shown(&site.file)), String::new()));
    let opened = if keys.is_empty() { "state store, log, keys and vault open" } else { "state store and vault open" };
    lines.extend(keys);
    let state = match &hub {
        Ok(hub) => without::state(hub.store()).await,
        Err(_) => without::stored(&site).await,
    };
    match (&hub, &state) {
        (Ok(_), None) => lines.push(Line::good(opened.into(), String::new())),
        (Err(failure), None) => lines.push(without::told(failure)),
        (_, Some(damage)) => lines.push(without::lost(damage)),
    }
    let mut vault = None;
    if let Err(opened) = &hub {
        // Told by its own line, unless that is what has stopped the hub.
        if let Some(fault) = site.log_fault(&[]).filter(|fault| !opened.what.contains(fault.as_str())) {
            lines.push(Line::bad(20, format!("the log: {fault}"), "cathedral log audit    names every file of it"));
        }
        match crate::hub::read_vault(&site) {
            Ok(opened) => vault = Some(opened),
            Err(failure) => lines.push(without::told(&failure)),
        }
    }
    let hub = hub.as_ref().ok();
    let bench = Bench {
        site: &site,
        ecosystem: &ecosystem,
        vault: hub.map(|hub| &*hub.vault).or(vault.as_ref()),
        hub: hub.filter(|_| state.is_none()),
    };
    look(&bench, fix, &mut lines).await?;
    if let Some(bar) = bar {
        bar.finish();
    }
    tell(&lines, output)
}

/// Looks at everything but the keys and the state.
async fn look(bench: &Bench<'_>, fix: bool, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let list = match bench.vault {
        Some(vault) => {
            destinations(vault, lines).await;
            // A vault that cannot be listed is told by the commands that need it.
            vault.list().await.unwrap_or_default()
        }
        None => vec![],
    };
    stores::look(bench, fix, &list, lines).await?;
    notes::look(bench, fix, lines).await?;
    if let Some(hub) = bench.hub {
        agreed::look(hub, fix, lines).await?;
    }
    if let Some(ahead) = super::snapshot::ahead(&list) {
        lines.push(Line::good(ahead, "look at this machine's clock: date -u".into()));
    }
    let syncers = crate::hub::local_syncers(bench.site, bench.ecosystem)?;
    for spoke in &bench.ecosystem.spokes {
        let seen = syncers.of(spoke.kind()).observe(spoke).await;
        lines.push(match seen {
            Ok(observation) => {
                let agreed = match bench.hub {
                    Some(hub) => Some(hub.store().memory(&spoke.name).await?.base.is_some()),
                    None => None,
                };
                sides(spoke.name.as_str(), &observation, agreed)
            }
            Err(error) => Line::bad(6, format!("{}: {error}", spoke.name), advice(spoke.kind())),
        });
    }
    Ok(())
}

fn tell(lines: &[Line], output: &Output) -> Ended {
    let bad = lines.iter().filter(|l| !l.ok).count();
    let json: Vec<_> = lines.iter().map(|l| serde_json::json!({ "ok": l.ok, "what": l.what, "fix": l.fix })).collect();
    output.data("doctor", &serde_json::json!({ "checks": json }), &[]);
    for line in lines {
        let mark = if line.ok {
            output.paint(Tint::Good, output.symbol("✔", "ok"))
        } else {
            output.paint(Tint::Bad, output.symbol("✖", "xx"))
        };
        output.sentence(&format!("{mark} {}", safe(&line.what)));
        if !line.fix.is_empty() {
            output.sentence_under(&format!("    {}", safe(&line.fix)), 4);
        }
    }
    if bad > 0 {
        let code = lines.iter().filter(|l| !l.ok).map(|l| l.code).max().unwrap_or(6);
        let id = match code {
            20 => "C2001",
            75 => "C7501",
            5 => "C1502",
            _ => "C1601",
        };
        let failure = Failure::new(code, id, format!("{bad} of {} checks failed", lines.len()))
            .why("each line marked above says what was tried and how it ended")
            .next("do what stands under each of them, then run cathedral doctor again");
        // The document above already tells it to scripts.
        output.failure_text(&failure);
        return Ok(code);
    }
    Ok(0)
}

/// Both sides of one spoke. A side that was agreed on before and is missing now is no side; none: nobody knows.
fn sides(name: &str, seen: &Observation, agreed: Option<bool>) -> Line {
    let what = format!("{name}: hub {}, spoke {}", seen.hub.position, seen.spoke.position);
    let is_missing = |position: &str| matches!(position, "missing" | "not there");
    match (is_missing(&seen.hub.position), is_missing(&seen.spoke.position)) {
        (true, true) => Line::bad(6, what, "neither side is there: check the paths, and that disks are mounted"),
        (false, false) => Line::good(what, seen.warnings.join("; ")),
        _ if agreed == Some(true) => Line::bad(
            6,
            what,
            "a side that was synced before is gone: mount or put it back, or bring it back with cathedral restore",
        ),
        _ if agreed.is_none() => Line::bad(
            6,
            what,
            "whether it was ever synced stands in the state database: if it was, mount the side or put it back",
        ),
        _ => Line::good(what, "the first sync makes the side that is missing from the other".into()),
    }
}

/// Each destination by its listings, and by what the last check found there.
async fn destinations(vault: &LocalVault, lines: &mut Vec<Line>) {
    let look = match vault.look().await {
        Ok(look) => look,
        Err(error) => return lines.push(Line::bad(6, format!("destinations: {error}"), "check paths and mounts")),
    };
    for place in look.destinations {
        let name = &place.name;
        if let Some(fault) = &place.fault {
            let fix = "mount the disk or put the folder back; the next snapshot brings it up to date";
            lines.push(Line::bad(6, format!("destination {name}: {fault}"), fix));
            continue;
        }
        let checked = match place.checks.first() {
            Some(check) if check.problems == 0 => {
                format!("last check {}, no problem", when::ago(check.at, HubEnv::clock()))
            }
            Some(check) => format!(
                "last check {} found {}",
                when::ago(check.at, HubEnv::clock()),
                many(check.problems, "problem", "problems")
            ),
            None => "never checked".into(),
        };
        if place.missing + place.damaged > 0 {
            let what = format!("destination {name}: {} missing, {} damaged; {checked}", place.missing, place.damaged);
            let fix = "cathedral snapshot create    mends what another copy or the living data still gives; then cathedral verify --level full";
            lines.push(Line::bad(20, what, fix));
        } else {
            let note =
                if place.checks.is_empty() { "cathedral verify --level full    reads everything back" } else { "" };
            lines.push(Line::good(format!("destination {name}: all objects are listed; {checked}"), note.into()));
        }
    }
    if let Some(lacks) = look.newest_lacks {
        let fix = "cathedral snapshot create    stores again what is still there";
        lines.push(Line::bad(20, format!("the newest snapshot is damaged at every destination: {lacks}"), fix));
    }
    for id in look.vanished {
        let fix = "put the vault's files back from your copy of them";
        lines.push(Line::bad(20, format!("snapshot {id} was taken and is at no destination any more"), fix));
    }
}

fn advice(kind: SpokeKind) -> &'static str {
    match kind {
        SpokeKind::Git => {
            "check the address, the network, and the credentials; ssh needs the host in .cathedral/keys/known_hosts"
        }
        SpokeKind::Database => "check the path and the rights of the file",
        SpokeKind::Files => "check that the folder is there and mounted",
    }
}

fn git() -> Line {
    let found = std::process::Command::new("git").arg("--version").output();
    let text = found.ok().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    let numbers: Vec<u32> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).take(2).collect();
    let ok = matches!(numbers.as_slice(), [major, minor] if (*major, *minor) >= (2, 38));
    let what = if text.is_empty() { "git is not installed".into() } else { text };
    if ok { Line::good(what, String::new()) } else { Line::bad(6, what, "install git 2.38 or newer") }
}
