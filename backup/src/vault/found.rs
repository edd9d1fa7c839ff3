//! Founding a vault, and opening one: with the hub's state folder, or with a key file alone.

use age::secrecy::ExposeSecret as _;
use age::x25519;
use cathedral_model::ids::SnapshotId;
use cathedral_model::ports::destination::Put;
use cathedral_model::ports::{Cause, Destination, Env, PortError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use zeroize::Zeroizing;

use super::{Inner, LocalVault, Tuning, key_file};
use crate::destination::local::sync_dir;
use crate::keys::{self, VaultSecret};
use crate::seal;
use crate::stock;
use crate::vault_file::{self, VaultFile};

const IDENTITY: &str = "hub.key";
const SIGNING: &str = "signing.key";
const SEALED: &str = "vault-0001.0.age";
pub(super) const KEY_OBJECT: &str = "keys/0001.0.age";
const KEY_MAX: u64 = 64 * 1024;

impl LocalVault {
    /// Founds a vault at every destination, or completes the founding after a crash; destinations that
    /// hold another vault are refused. `recipients` (age X25519) may restore besides the hub.
    ///
    /// The keys are written to `keys_dir` and read back before anything is put anywhere. Calling it
    /// again with more destinations adds them: the next snapshot copies everything there first.
    pub fn init(
        keys_dir: &Path,
        destinations: &[Arc<dyn Destination>],
        recipients: &[String],
        env: &dyn Env,
    ) -> Result<VaultFile, PortError> {
        let recipients = recipients.iter().map(|r| keys::recipient(r)).collect::<Result<Vec<_>, _>>()?;
        private_dir(keys_dir)?;
        let identity = hub_identity(keys_dir)?;
        let signing = signing_key(keys_dir)?;
        let sealed = sealed_secret(keys_dir, &identity, &signing.verifying_key(), recipients, env)?;
        let secret = unseal(&sealed, &[identity]).map_err(key_file::named(keys_dir.join(SEALED)))?;
        let marker = match read_file(&keys_dir.join(vault_file::OBJECT))? {
            Some(bytes) => bytes,
            None => {
                let file =
                    VaultFile::new(&secret.vault, env.now(), &secret.identity.to_public(), &signing.verifying_key());
                let bytes = Zeroizing::new(file.to_bytes(&signing)?);
                write_new(&keys_dir.join(vault_file::OBJECT), &bytes)?;
                bytes
            }
        };
        let file = VaultFile::from_bytes(&marker, &[signing.verifying_key()])?;
        if file.vault != secret.vault {
            return Err(PortError::failed(Cause::Key, format!("{} holds keys of two vaults", keys_dir.display())));
        }
        for destination in destinations {
            found_at(destination.as_ref(), &file, &marker, &sealed)?;
        }
        Ok(file)
    }

    /// Opens a vault with the keys in the hub's state folder. No destination needs to answer yet.
    pub fn open(
        keys_dir: &Path,
        destinations: Vec<Arc<dyn Destination>>,
        quorum: usize,
        cache_dir: &Path,
        env: Arc<dyn Env>,
    ) -> Result<Self, PortError> {
        let missing = |what: &str| key_file::missing(keys_dir, what);
        let identity = read_text(&keys_dir.join(IDENTITY))?.ok_or_else(|| missing(IDENTITY))?;
        let signing = read_text(&keys_dir.join(SIGNING))?.ok_or_else(|| missing(SIGNING))?;
        let sealed = read_file(&keys_dir.join(SEALED))?.ok_or_else(|| missing(SEALED))?;
        let marker = read_file(&keys_dir.join(vault_file::OBJECT))?.ok_or_else(|| missing(vault_file::OBJECT))?;
        let named = |what: &str| key_file::named(keys_dir.join(what));
        let signer = parse_signing(&signing).map_err(named(SIGNING))?;
        let openers = key_file::identities(&keys_dir.join(IDENTITY), &identity)?;
        let secret = unseal(&sealed, &openers).map_err(named(SEALED))?;
        let marked = VaultFile::from_bytes(&marker, &[signer.verifying_key()]);
        let file = marked.map_err(named(vault_file::OBJECT))?;
        if quorum == 0 || quorum > destinations.len() {
            let message = format!("quorum {quorum} cannot be met by {} destinations", destinations.len());
            return Err(PortError::failed(Cause::Invalid, message));
        }
        private_dir(cache_dir)?;
        let mut inner = assemble(secret, file, destinations, quorum)?;
        inner.signer = Some(signer);
        inner.openers = openers;
        inner.sealed_key = Some(sealed.to_vec());
        inner.keys_dir = Some(keys_dir.to_owned());
        inner.cache = Some(cache_dir.to_owned());
        inner.env = Some(env);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a vault read-only with one key file and no hub: the vault's own key as `keys/*.age` give
    /// it, or any age identity they are sealed to.
    pub fn open_with_key(destinations: Vec<Arc<dyn Destination>>, key_file: &Path) -> Result<Self, PortError> {
        let text = key_file::read(key_file)?.ok_or_else(|| key_file::refuse(key_file, "is not there"))?;
        let identities = key_file::identities(key_file, &text)?;
        let is_vault_key = VaultSecret::is_text(&text);
        let given = is_vault_key.then(|| VaultSecret::from_text(&text)).transpose();
        let given = given.map_err(key_file::named(key_file.to_owned()))?;
        let mut last = PortError::failed(Cause::Invalid, "no destination is given");
        for destination in &destinations {
            let opened = match &given {
                Some(secret) => Ok(secret.clone()),
                None => secret_at(destination.as_ref(), key_file, &identities),
            };
            let read = opened.and_then(|secret| {
                let bytes = destination.get(vault_file::OBJECT)?;
                let file = VaultFile::from_bytes(&bytes, &secret.signers)?;
                if file.vault == secret.vault {
                    return Ok((secret, file));
                }
                let message = format!(
                    "key is for vault {}, destination {} holds {}",
                    secret.vault,
                    destination.name(),
                    file.vault
                );
                Err(PortError::failed(Cause::Key, message))
            });
            match read {
                Ok((secret, file)) => {
                    let mut inner = assemble(secret, file, destinations, 1)?;
                    if given.is_none() {
                        inner.openers = identities;
                    }
                    return Ok(Self { inner: Arc::new(inner) });
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

fn assemble(
    secret: VaultSecret,
    file: VaultFile,
    destinations: Vec<Arc<dyn Destination>>,
    quorum: usize,
) -> Result<Inner, PortError> {
    let recipient = file.recipient()?;
    if recipient.to_string() != secret.identity.to_public().to_string() {
        return Err(PortError::failed(Cause::Key, format!("key does not fit vault {}", file.vault)));
    }
    Ok(Inner {
        hashes: secret.hashes(),
        recipients: vec![recipient],
        identities: vec![secret.identity.clone()],
        signer: None,
        openers: vec![],
        sealed_key: None,
        trusted: if secret.signers.is_empty() { file.signer_keys() } else { secret.signers.clone() },
        secret,
        file,
        keys_dir: None,
        destinations,
        only: OnceLock::new(),
        quorum,
        cache: None,
        env: None,
        tuning: Tuning::default(),
        index: RwLock::default(),
        indexed: Mutex::default(),
        manifests: Mutex::default(),
        faults: Mutex::default(),
    })
}

/// Writes the founding objects, the marker last.
fn found_at(destination: &dyn Destination, file: &VaultFile, marker: &[u8], sealed: &[u8]) -> Result<(), PortError> {
    match destination.get(vault_file::OBJECT) {
        Ok(bytes) => {
            let there = VaultFile::from_bytes(&bytes, &[])?;
            if there.vault == file.vault {
                return Ok(());
            }
            let message = format!("destination {} holds another vault: {}", destination.name(), there.vault);
            return Err(PortError::failed(Cause::Refused, message));
        }
        // A folder without marker says so; it is about to get one.
        Err(e) if matches!(e.cause(), Cause::NotFound | Cause::Unreachable) => {}
        Err(e) => return Err(e),
    }
    put(destination, KEY_OBJECT, sealed)?;
    for (name, text) in stock::FILES {
        put(destination, name, text.as_bytes())?;
    }
    put(destination, vault_file::OBJECT, marker)
}

fn put(destination: &dyn Destination, object: &str, bytes: &[u8]) -> Result<(), PortError> {
    match destination.put(object, bytes)? {
        Put::Stored => Ok(()),
        Put::AlreadyThere if destination.get(object)? == bytes => Ok(()),
        Put::AlreadyThere => {
            let message = format!("destination {}: {object} of something else is there", destination.name());
            Err(PortError::failed(Cause::Refused, message))
        }
    }
}

fn hub_identity(dir: &Path) -> Result<x25519::Identity, PortError> {
    let path = dir.join(IDENTITY);
    if read_text(&path)?.is_none() {
        let made = x25519::Identity::generate();
        let text = Zeroizing::new(format!(
            "# cathedral hub key, keep secret; opens the vault's keys\n# public key: {}\n{}\n",
            made.to_public(),
            made.to_string().expose_secret()
        ));
        write_new(&path, text.as_bytes())?;
    }
    let text = read_text(&path)?.ok_or_else(|| PortError::failed(Cause::Key, "hub key is gone"))?;
    let found = key_file::identities(&path, &text)?;
    found.into_iter().next().ok_or_else(|| key_file::refuse(&path, "is empty"))
}

fn signing_key(dir: &Path) -> Result<SigningKey, PortError> {
    let path = dir.join(SIGNING);
    if read_text(&path)?.is_none() {
        let text = Zeroizing::new(format!("{}\n", hex::encode(keys::signing_key()?.to_bytes())));
        write_new(&path, text.as_bytes())?;
    }
    parse_signing(&read_text(&path)?.ok_or_else(|| PortError::failed(Cause::Key, "signing key is gone"))?)
}

fn parse_signing(text: &str) -> Result<SigningKey, PortError> {
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut())
        .map_err(|_| PortError::failed(Cause::Key, "signing key is not 64 hex digits"))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Returns the sealed vault key, made once.
fn sealed_secret(
    dir: &Path,
    identity: &x25519::Identity,
    signer: &VerifyingKey,
    mut recipients: Vec<x25519::Recipient>,
    env: &dyn Env,
) -> Result<Zeroizing<Vec<u8>>, PortError> {
    let path = dir.join(SEALED);
    if let Some(sealed) = read_file(&path)? {
        return Ok(sealed);
    }
    let mut entropy = [0; 10];
    env.entropy(&mut entropy);
    let vault = SnapshotId::generate(env.now(), entropy);
    let secret = VaultSecret::generate(vault.as_str(), signer)?;
    recipients.push(identity.to_public());
    let sealed = seal::encrypt(&recipients, secret.to_text().as_bytes())?;
    write_new(&path, &sealed)?;
    Ok(Zeroizing::new(sealed))
}

fn unseal(sealed: &[u8], identities: &[x25519::Identity]) -> Result<VaultSecret, PortError> {
    let plain = seal::decrypt(identities, sealed, KEY_MAX).map_err(|e| match e {
        seal::OpenError::NoKey => PortError::failed(Cause::Key, "the key does not open it"),
        other => PortError::Corrupt(format!("vault key file: {other}")),
    })?;
    let plain = Zeroizing::new(plain);
    let text = std::str::from_utf8(&plain).map_err(|_| PortError::Corrupt("vault key file is not text".into()))?;
    VaultSecret::from_text(text)
}

/// Finds the newest key file at a destination that one of the identities opens.
fn secret_at(
    destination: &dyn Destination,
    key_file: &Path,
    identities: &[x25519::Identity],
) -> Result<VaultSecret, PortError> {
    let name = destination.name();
    let mut last = PortError::failed(Cause::Key, format!("destination {name} holds no keys: it is not a whole vault"));
    for (object, _) in destination.list("keys/")?.into_iter().rev() {
        match destination.get(&object).and_then(|sealed| unseal(&sealed, identities)) {
            Ok(secret) => return Ok(secret),
            Err(e) if e.cause() == Cause::Key => {
                last = key_file::refuse(key_file, &format!("opens none of the keys at destination {name}"));
            }
            Err(e) => last = key_file::named_at(name, &object)(e),
        }
    }
    Err(last)
}

/// Says whether a key file at a destination is the one that was written, or at least opens.
pub(super) fn judge_key(inner: &Inner, object: &str, sealed: &[u8]) -> Result<(), String> {
    if object == KEY_OBJECT
        && let Some(own) = &inner.sealed_key
        && own.as_slice() != sealed
    {
        return Err("it is not the file that was written".into());
    }
    if inner.openers.is_empty() {
        return Ok(());
    }
    let secret = unseal(sealed, &inner.openers).map_err(|e| e.to_string())?;
    if secret.vault != inner.file.vault { Err(format!("it is of vault {}", secret.vault)) } else { Ok(()) }
}

fn private_dir(dir: &Path) -> Result<(), PortError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| PortError::io(dir.display(), &e))
}

fn read_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, PortError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(PortError::io(path.display(), &e)),
    }
}

fn read_text(path: &Path) -> Result<Option<Zeroizing<String>>, PortError> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(PortError::failed(Cause::Key, format!("{} is not text", path.display()))),
    }
}

/// Writes a secret file that must not exist yet: aside, flushed, renamed, readable by nobody else.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PortError> {
    let aside = path.with_extension("tmp");
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_dir(dir)
    };
    write().map_err(|e| PortError::io(path.display(), &e))
}
