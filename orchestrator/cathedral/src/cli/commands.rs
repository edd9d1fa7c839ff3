//! What each command does.

mod config;
mod conflicts;
mod doctor;
mod faults;
mod hook;
mod init;
mod log;
mod merge_file;
mod pick;
mod place;
mod plan;
mod restore;
mod runs;
mod schedule;
mod snapshot;
mod status;
mod sync;
mod token;
mod verify;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cathedral_model::ids::SnapshotId;
use cathedral_model::ids::SpokeName;

use super::args::{Command, ConfigCommand, Global};
use super::failure::Failure;
use super::output::Output;
use super::progress::Bar;
use super::{Ended, guide, schema};
use crate::hub::{Hub, Site};
use crate::remote::Remote;
use pick::find_snapshot;

/// Runs commands that need neither a hub nor a runtime; gives back the others.
pub fn without_hub(command: Command, global: &Global, output: &Output) -> Result<Ended, Box<Command>> {
    Ok(match command {
        Command::Config {
            what: what @ (ConfigCommand::Versions { .. } | ConfigCommand::Diff { .. } | ConfigCommand::Rollback { .. }),
        } => return Err(Box::new(Command::Config { what })),
        Command::Config { what } => config::run(what, global, output),
        Command::Init { place, template, stdout } => init::run(place, template, stdout, global, output),
        Command::MergeFile { base_file, hub_file, spoke_file, path, suggest, explain } => {
            let files = [base_file, hub_file, spoke_file].map(|file| at(global, &file));
            merge_file::run(&files, path.as_deref(), suggest, explain, output)
        }
        Command::Completion { shell } => guide::completion(shell, output),
        Command::Man { place: None } => guide::man(None, output),
        Command::Man { place: Some(dir) } => {
            let dir = at(global, &dir);
            place_for_pages(&dir, global).and_then(|()| guide::man(Some(dir), output))
        }
        Command::Schema { name } => schema::run(name, output),
        Command::Help { topic } => guide::help(&topic, output),
        Command::Proof { what: None, verify: Some(file), vkey, manifest } => {
            let manifest = manifest.map(|manifest| at(global, &manifest));
            log::verify(&at(global, &file), vkey.as_deref(), manifest.as_deref(), output)
        }
        Command::Proof { what: None, verify: None, .. } => {
            Err(Failure::new(2, "C1201", "nothing to prove or to verify is named")
                .next("cathedral proof snapshot latest --out FILE")
                .next("cathedral proof --verify FILE"))
        }
        other => return Err(Box::new(other)),
    })
}

/// Man pages go where nothing else is at work; a configuration is looked at when there is one.
fn place_for_pages(dir: &Path, global: &Global) -> Result<(), Failure> {
    let site = site(global).ok();
    let ecosystem = site.as_ref().and_then(|site| crate::hub::resolve(site).ok());
    let destinations = site.iter().flat_map(crate::hub::places).map(|(_, path)| path).collect();
    if dir.exists() && !dir.is_dir() {
        return Err(Failure::new(7, "C1701", format!("{} is a file; nothing was changed", Output::safe_path(dir)))
            .why("man pages are several files")
            .next("name a folder"));
    }
    place::check(dir, &place::Kept { ecosystem: ecosystem.as_ref().map(|(ecosystem, _)| ecosystem), destinations })
}

/// Runs commands on a hub.
pub async fn with_hub(command: Command, global: &Global, output: &Output) -> Ended {
    match command {
        Command::Demo { place, no_serve, listen } => {
            let place = place.map(|place| at(global, &place));
            crate::demo::run(place, no_serve, listen, output).await
        }
        Command::Config { what: ConfigCommand::Versions { limit } } => versions::list(limit, global, output).await,
        Command::Config { what: ConfigCommand::Diff { from, to } } => versions::diff(from, to, global, output).await,
        Command::Config { what: ConfigCommand::Rollback { number } } => {
            versions::rollback(number, global, output).await
        }
        Command::Schedule { what } => schedule::run(what, global, output).await,
        Command::Token { what } => token::run(what, global, output).await,
        Command::Hook { what } => hook::run(what, global, output).await,
        Command::Up { listen, once, .. } => {
            let options = crate::serve::Up { listen, once, ..Default::default() };
            crate::serve::up(site(global)?, options, output).await
        }
        Command::Status { spoke, all, exit_code } => status::run(spoke, all, exit_code, global, output).await,
        Command::Plan { spokes, out } => plan::run(&spokes, out.map(|out| at(global, &out)), global, output).await,
        Command::Sync(args) => sync::run(args, global, output).await,
        Command::Runs { failed, limit } => runs::list(failed, limit, global, output).await,
        Command::Run { what } => runs::one(what, global, output).await,
        Command::Conflicts { list, what } => conflicts::run(list, what, global, output).await,
        Command::Snapshot { what } => snapshot::run(what, global, output).await,
        Command::Verify { snapshots, level } => verify::run(&snapshots, level, global, output).await,
        Command::Restore(args) => restore::run(args, global, output).await,
        Command::Proof { what: Some(what), .. } => log::prove(what, global, output).await,
        Command::Log { what } => log::run(what, global, output),
        Command::Events { from, limit, kind } => log::events(from, limit, kind, global, output).await,
        Command::Doctor { fix } => doctor::run(fix, global, output).await,
        Command::Init { .. }
        | Command::Config { .. }
        | Command::MergeFile { .. }
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Schema { .. }
        | Command::Help { .. }
        | Command::Proof { what: None, .. } => Err(Failure::new(1, "C1002", "this command runs without a hub")),
    }
}

fn folder(global: &Global) -> PathBuf {
    global.dir.clone().unwrap_or_else(|| PathBuf::from("."))
}

/// A path that was typed, seen from the folder that `-C` names.
fn at(global: &Global, path: &Path) -> PathBuf {
    global.dir.as_ref().map_or_else(|| path.to_path_buf(), |dir| dir.join(path))
}

/// The site around the current folder.
pub fn site(global: &Global) -> Result<Site, Failure> {
    Site::find(&folder(global), global.config.as_deref())
}

/// How long a hub that is being killed, or is about to serve, may hold the lock without answering.
const SETTLES: std::time::Duration = std::time::Duration::from_secs(2);

/// The hub, opened for work.
pub async fn hub(global: &Global, output: &Output) -> Result<(Hub, Arc<Bar>), Failure> {
    let bar = Arc::new(Bar::new(output));
    let begun = std::time::Instant::now();
    loop {
        let busy = match Hub::open(site(global)?, Arc::clone(&bar) as _).await {
            Err(busy) if busy.id == "C7501" => busy,
            hub => return Ok((hub?, bar)),
        };
        let site = site(global)?;
        if let Some(remote) = Remote::local(&site).await {
            return Ok((Hub::attach(site, remote, Arc::clone(&bar) as _).await?, bar));
        }
        // A hub that is being killed, or is about to serve, has the lock and does not answer for a moment.
        if begun.elapsed() > SETTLES || !site.state.join("hub.sock").exists() {
            return Err(busy);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Checks spoke names, with the nearest known one in the failure.
pub fn spokes(hub: &Hub, names: &[String]) -> Result<Vec<SpokeName>, Failure> {
    let known: Vec<String> = hub.ecosystem().spokes.iter().map(|s| s.name.to_string()).collect();
    let check = |name: &String| {
        let found = hub.ecosystem().spokes.iter().find(|s| s.name.as_str() == name);
        found.map(|s| s.name.clone()).ok_or_else(|| Failure::unknown("spoke", name, &known))
    };
    names.iter().map(check).collect()
}

/// Writes a file that is not there yet: what stands at a place that was named by mistake may be a key, a
/// state database or somebody's work.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(7, "C1701", format!("{} is there already", Output::safe_path(path)))
                .why("a file is never written over by --out; nothing was changed")
                .next("name another place, or remove the file first")
        }
        _ => Failure::write(path, &e),
    })
}

/// The part of a snapshot id that people read and type.
pub fn short(id: &SnapshotId) -> String {
    id.as_str().chars().take(16).collect()
}
