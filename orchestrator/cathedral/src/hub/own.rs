//! What the hub keeps for itself besides state, log and contents: its keys, and its stores of repositories.
//!
//! Keys are cheap to look at, so they are looked at each time. A store is not: what the last check found is kept
//! beside the stores, until a check as close finds nothing, or the store was made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use cathedral_engine::query::OwnFault;
use cathedral_integrity::key;
use cathedral_model::ecosystem::{Ecosystem, Spoke, SpokeKind};
use cathedral_model::ports::PortError;
use cathedral_model::time::Timestamp;
use cathedral_syncers::git::Depth;
use serde::{Deserialize, Serialize};

use super::open::missing_keys;
use super::resolve::master;
use super::resolve::resolve;
use super::syncers::git_options;
use super::{HubEnv, Site};
use crate::cli::Failure;

/// The command that makes a store anew.
pub const HEAL: &str = "cathedral doctor --fix";
/// What helps when a key is gone.
pub const KEYS_BACK: &str = "put the folder .cathedral/keys back from your copy of it";
/// How often a fault must be seen to count: a hub may be writing there.
const LOOKS: usize = 3;

/// A key that is missing or damaged.
pub struct KeyFault {
    pub file: String,
    pub fault: String,
    /// Whether it follows from what is left, so that [`HEAL`] writes it anew.
    pub is_mendable: bool,
}

impl KeyFault {
    /// What helps.
    pub fn cure(&self) -> &'static str {
        if self.is_mendable { HEAL } else { KEYS_BACK }
    }
}

/// Looks at the keys of a hub that has been at work; with none of it there is nothing to miss.
pub fn key_faults(site: &Site) -> Vec<KeyFault> {
    let keys = site.state.join("keys");
    let fault = |file: &str, fault: String| KeyFault { file: file.to_owned(), fault, is_mendable: false };
    let mut found: Vec<KeyFault> =
        missing_keys(site).into_iter().map(|name| fault(name, "it is missing".into())).collect();
    let id = fs::read_to_string(keys.join("hub-id")).ok();
    if !found.iter().any(|key| key.file == "hub-id")
        && keys.join("hub-id").exists()
        && !id.as_ref().is_some_and(|id| is_id(id))
    {
        found.push(fault("hub-id", "it is damaged: it holds no id of a hub".into()));
    }
    let of_log = key::faults(&keys, &site.state.join("log"), origin(site).as_deref());
    found.extend(of_log.into_iter().map(|(file, why)| fault(file, why)));
    let needs = ["hub-id", "log.key"];
    let is_derived = !found.iter().any(|fault| needs.contains(&fault.file.as_str()));
    for fault in found.iter_mut().filter(|fault| fault.file == key::VERIFIER) {
        fault.is_mendable = is_derived;
    }
    found
}

/// The key that the log is read with.
pub fn verifier_key(site: &Site) -> Result<key::VerifierKey, Failure> {
    if let Some(fault) = key_faults(site).into_iter().find(|fault| fault.file == key::VERIFIER) {
        return Err(Failure::new(5, "C1502", format!("the log cannot be read: {}", fault.fault))
            .why("the log is checked with this key, and nothing of it is believed without")
            .next(match fault.is_mendable {
                true => format!("{HEAL}    writes it anew from the secret key"),
                false => format!("{KEYS_BACK}, then repeat the command"),
            }));
    }
    Ok(key::verifier_key(&site.state.join("keys")).map_err(PortError::from)?)
}

/// Whether the log cannot be read because of its verifier key, which is told by itself.
pub fn is_key_faulty(site: &Site) -> bool {
    key_faults(site).iter().any(|fault| fault.file == key::VERIFIER)
}

fn is_id(id: &str) -> bool {
    id.trim().len() == 12 && id.trim().bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the log calls itself; none where the hub's id cannot be read.
fn origin(site: &Site) -> Option<String> {
    let id = fs::read_to_string(site.state.join("keys/hub-id")).ok().filter(|id| is_id(id))?;
    let (ecosystem, _) = resolve(site).ok()?;
    Some(format!("{}.cathedral/{}", id.trim(), ecosystem.name))
}

/// Writes the log's verifier key anew from the secret one; says whether it could.
pub fn mend_verifier_key(site: &Site) -> Result<bool, Failure> {
    let Some(origin) = origin(site) else { return Ok(false) };
    let (keys, log) = (site.state.join("keys"), site.state.join("log"));
    Ok(key::mend_verifier_key(&keys, &log, &origin).map_err(PortError::from)?)
}

/// The stores of a hub, as the spokes they are of: the hub's own repository first, since others are made with it.
pub fn stores(ecosystem: &Ecosystem) -> Vec<Spoke> {
    let mut out: Vec<Spoke> = ecosystem.spokes.iter().filter(|s| s.kind() == SpokeKind::Git).cloned().collect();
    match out.iter().position(|spoke| spoke.name == ecosystem.hub.name) {
        Some(at) => out[..=at].rotate_right(1),
        None => out.insert(0, master(&ecosystem.hub)),
    }
    out
}

/// Says what is wrong with the store of a spoke; each fault that several looks see.
pub fn store_faults(state: &Path, spoke: &Spoke, depth: Depth) -> Result<Vec<String>, PortError> {
    let options = git_options(state);
    let look = || cathedral_syncers::git::store_faults(options.clone(), state, spoke, depth);
    let mut found = look()?;
    for _ in 1..LOOKS {
        if found.is_empty() {
            break;
        }
        let again: BTreeSet<String> = look()?.into_iter().collect();
        found.retain(|fault| again.contains(fault));
    }
    Ok(found)
}

#[derive(Default, Serialize, Deserialize)]
struct StoreChecks {
    stores: BTreeMap<String, StoreCheck>,
}

#[derive(Serialize, Deserialize)]
struct StoreCheck {
    at: Timestamp,
    /// How closely it was looked at; only a look as close takes it back.
    depth: u8,
    faults: u64,
    first: String,
}

const CHECKS: &str = "git-check.json";

fn checks(state: &Path) -> StoreChecks {
    fs::read(state.join(CHECKS)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Remembers what a check of a store found.
pub fn note_store_check(state: &Path, name: &str, depth: Depth, faults: &[String]) {
    let mut known = checks(state);
    let depth = depth as u8;
    match faults.first() {
        None if known.stores.get(name).is_some_and(|check| check.depth <= depth) => drop(known.stores.remove(name)),
        None => return,
        Some(first) => {
            let check = StoreCheck { at: HubEnv::clock(), depth, faults: faults.len() as u64, first: first.clone() };
            known.stores.insert(name.to_owned(), check);
        }
    }
    let write = || -> std::io::Result<()> {
        let mut aside = tempfile::NamedTempFile::new_in(state)?;
        serde_json::to_writer(&mut aside, &known)?;
        aside.write_all(b"\n")?;
        aside.as_file().sync_all()?;
        aside.persist(state.join(CHECKS)).map(|_| ()).map_err(|e| e.error)
    };
    if let Err(error) = write() {
        tracing::warn!(file = CHECKS, %error, "what a check of a store found is not remembered");
    }
}

/// Says what the last check of a store found; none: nothing, or there was none.
pub fn store_check(state: &Path, name: &str) -> Option<String> {
    let check = checks(state).stores.remove(name)?;
    let at: String = check.at.to_rfc3339().chars().take(16).collect();
    let more = if check.faults > 1 { format!(" and {} more", check.faults - 1) } else { String::new() };
    Some(format!("the check of {} UTC found {}{more}", at.replace('T', " "), check.first))
}

impl Site {
    /// What is missing or damaged of the keys, and of the stores by the last check of them or because their folder
    /// is gone.
    pub fn own_faults(&self) -> Vec<OwnFault> {
        let keys = key_faults(self).into_iter().map(|key| OwnFault {
            code: 5,
            what: format!("the key file .cathedral/keys/{} is missing or damaged", key.file),
            command: format!("{}; cathedral verify    looks again", key.cure()),
            why: key.fault,
        });
        let mut found: Vec<OwnFault> = keys.collect();
        let Ok((ecosystem, _)) = resolve(self) else { return found };
        for spoke in stores(&ecosystem) {
            let name = spoke.name.as_str();
            // Whether a folder is there costs nothing to see.
            let gone = cathedral_syncers::git::is_store_gone(&self.state, name);
            let why = if gone { Some("its folder is gone".to_owned()) } else { store_check(&self.state, name) };
            let Some(why) = why else { continue };
            let what = format!("the hub's own store of {name} is damaged");
            found.push(OwnFault { code: 20, what, why, command: HEAL.into() });
        }
        found
    }
}
