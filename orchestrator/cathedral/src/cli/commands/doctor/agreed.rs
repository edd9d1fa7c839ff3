//! What both sides of each spoke last agreed on: read from end to end, and with `--fix` set aside where it is damaged.
//!
//! It stands nowhere else. Without it the next sync compares both sides as if for the first time: what only one of
//! them holds goes to the other, and what differs waits as a conflict. Nothing is deleted for the want of it.

use std::fs;
use std::path::{Path, PathBuf};

use cathedral_engine::agreed_fault;
use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ports::Env as _;

use super::super::Failure;
use super::Line;
use crate::cli::many;
use crate::hub::{HEAL, Hub, HubEnv, shown};

/// Reads what each spoke needs; with `fix`, sets aside what cannot be read, and forgets it.
pub async fn look(hub: &Hub, fix: bool, lines: &mut Vec<Line>) -> Result<(), Failure> {
    let mut whole = 0;
    for spoke in &hub.ecosystem().spokes {
        let name = &spoke.name;
        let Some(base) = hub.store().memory(name).await?.base else { continue };
        let is_git = spoke.kind() == SpokeKind::Git;
        if is_git && cathedral_syncers::git::is_base_disregarded(&hub.site.state, name.as_str(), &base) {
            continue;
        }
        let Some(fault) = tokio::task::block_in_place(|| agreed_fault(&*hub.content, &base)) else {
            whole += 1;
            continue;
        };
        let what = format!("what both sides of {name} last agreed on cannot be read: {fault}");
        if !fix {
            let fix_it = format!("{HEAL}    sets it aside; the next sync compares both sides afresh, deletes nothing");
            lines.push(Line::bad(20, what, &fix_it));
            continue;
        }
        if hub.is_attached() {
            return Err(Failure::new(75, "C7501", format!("a hub is running, and works on {name}"))
                .why("what was agreed on is forgotten while nobody works with it; nothing was changed")
                .next("stop the hub (cathedral up), then repeat the command"));
        }
        // Set aside first: what is missing is found again, what is forgotten is not.
        let id = base.to_string();
        let content = hub.site.state.join("content").join(&id[..2]).join(&id);
        let kept = set_aside(&hub.site.state, &content, &format!("content-{id}"))?;
        hub.store().forget_base(name, &base, HubEnv.now()).await?;
        let mut note = "the next sync compares both sides afresh, and deletes nothing".to_owned();
        if let Some(kept) = kept {
            note = format!("it is kept in {}; {note}", shown(&kept));
        }
        lines.push(Line::good(format!("{what}; it was set aside"), note));
    }
    if whole > 0 {
        let what = format!("what both sides last agreed on can be read, of {}", many(whole, "spoke", "spokes"));
        lines.push(Line::good(what, String::new()));
    }
    Ok(())
}

/// Moves a file of the hub's own below `kept`, under a name that begins with this one; none when it is not there.
pub fn set_aside(state: &Path, from: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
    let kept = state.join("kept");
    let free = |n: &u32| !kept.join(format!("{name}-{n}")).exists();
    let Some(n) = (0..).find(free) else { return Ok(None) };
    let to = kept.join(format!("{name}-{n}"));
    let move_it = || {
        fs::create_dir_all(&kept)?;
        fs::rename(from, &to)?;
        fs::File::open(&kept)?.sync_all()?;
        fs::File::open(from.parent().unwrap_or(state))?.sync_all()
    };
    match move_it() {
        Ok(()) => Ok(Some(to)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::io(&shown(from), &e)),
    }
}
