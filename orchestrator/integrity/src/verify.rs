//! Offline check of a proof pack. The order is archive, statement, leaf, tree, signature, object; the
//! first thing that fails is named with its file.

use sha2::{Digest as _, Sha256};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::VerifierKey;
use crate::leaf::{Salt, Statement, sealed_entry};
use crate::pack::{NAMES, VERIFY_MD};
use crate::proof::InclusionProof;
use crate::tar::{self, Member};
use crate::tree::{leaf_hash, verify_inclusion};

/// What to check a pack against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check<'a> {
    /// The log's key from a source that the caller trusts.
    pub trusted: Option<&'a VerifierKey>,
    /// The object that the statement speaks of, for a snapshot its stored manifest.
    pub object: Option<&'a [u8]>,
}

/// One thing that was checked and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    pub detail: String,
}

/// The first thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {why}", line.map(|l| format!(" line {l}")).unwrap_or_default())]
pub struct Failure {
    pub step: &'static str,
    pub file: String,
    pub line: Option<usize>,
    pub why: String,
}

/// What had to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The signature is by the key that the caller gave.
    Key(VerifierKey),
    /// The pack fits together, under a key that only the pack itself vouches for.
    Undecided(VerifierKey),
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(key) => write!(f, "believed: the log key you gave, {key}"),
            Self::Undecided(key) => {
                write!(f, "consistent, trust not decided: the log key {key} is from the pack itself")
            }
        }
    }
}

/// What a pack proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    pub index: u64,
    pub checkpoint: Checkpoint,
    pub statement: Statement,
    pub trust: Trust,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What holds, in the order it was checked.
    pub steps: Vec<Step>,
    pub result: Result<Proven, Failure>,
}

impl Verdict {
    /// Whether everything holds, under a key that the caller trusts.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(&self.result, Ok(proven) if matches!(proven.trust, Trust::Key(_)))
    }
}

/// Checks a pack. Reads nothing but its arguments.
#[must_use]
pub fn verify_pack(bytes: &[u8], check: Check<'_>) -> Verdict {
    let mut steps = Vec::new();
    let result = run(bytes, check, &mut steps);
    Verdict { steps, result }
}

fn fail<T>(step: &'static str, file: &str, line: Option<usize>, why: impl ToString) -> Result<T, Failure> {
    Err(Failure { step, file: file.to_owned(), line, why: why.to_string() })
}

fn run(bytes: &[u8], check: Check<'_>, steps: &mut Vec<Step>) -> Result<Proven, Failure> {
    let mut done = |name, detail: String| steps.push(Step { name, detail });

    let members = match tar::read(bytes) {
        Ok(members) => members,
        Err(error) => return fail("archive", "the pack", None, error),
    };
    let [guide, statement, salt, proof, note, vkey] = members.as_slice() else {
        return fail("archive", "the pack", None, format!("it must hold {}", NAMES.join(", ")));
    };
    if let Some((member, name)) = members.iter().zip(NAMES).find(|(m, n)| m.name != *n) {
        return fail("archive", &member.name, None, format!("{name} was expected here"));
    }
    if guide.bytes != VERIFY_MD.as_bytes() {
        return fail("archive", &guide.name, None, "it is not the text of this version");
    }
    done("archive", format!("{} files, one way to write them", members.len()));

    let statement_bytes = &statement.bytes;
    let read = match Statement::parse(statement_bytes) {
        Ok(read) => read,
        Err(why) => return fail("statement", &statement.name, None, why),
    };
    done("statement", format!("{} {}, claimed time {}", read.kind, read.subject, read.time));

    let Ok(salt_bytes) = Salt::try_from(salt.bytes.as_slice()) else {
        return fail("leaf", &salt.name, None, "it must have 32 bytes");
    };
    let hash = leaf_hash(&sealed_entry(&salt_bytes, statement_bytes));
    done("leaf", format!("leaf hash {}", hex::encode(hash)));

    let path = match InclusionProof::parse(&proof.bytes) {
        Ok(path) => path,
        Err(line) => return fail("tree", &proof.name, Some(line), "it is not a proof of c2sp.org/tlog-proof@v1"),
    };
    if path.checkpoint.as_bytes() != note.bytes {
        return fail("tree", &proof.name, None, "its checkpoint differs from the file checkpoint");
    }
    let checkpoint = tree(&path, &hash, note, proof)?;
    done("tree", format!("leaf {} of {}, root {}", path.index, checkpoint.size, hex::encode(checkpoint.root)));

    let key = signature(&checkpoint, note, vkey, check.trusted)?;
    if format!("{}.cathedral/{}", read.hub, read.ecosystem) != checkpoint.origin {
        let why = format!("it speaks of another log than {}", checkpoint.origin);
        return fail("signature", &statement.name, None, why);
    }
    done("signature", format!("checkpoint signed by {}", key.name()));

    if let Some(object) = check.object {
        let detail = self::object(&read, object)?;
        done("object", detail);
    }
    let trust = if check.trusted.is_some() { Trust::Key(key) } else { Trust::Undecided(key) };
    Ok(Proven { index: path.index, checkpoint, statement: read, trust })
}

fn tree(path: &InclusionProof, leaf: &[u8; 32], note: &Member, proof: &Member) -> Result<Checkpoint, Failure> {
    let text = path.checkpoint.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    let checkpoint = match Checkpoint::parse(&text) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return fail("tree", &note.name, None, error),
    };
    if !verify_inclusion(leaf, path.index, checkpoint.size, &path.hashes, &checkpoint.root) {
        let why = "statement, salt and this proof do not lead to the root of the checkpoint";
        return fail("tree", &proof.name, None, why);
    }
    Ok(checkpoint)
}

/// Checks the signature; the key in the pack must be the trusted one where there is one.
fn signature(
    checkpoint: &Checkpoint,
    note: &Member,
    vkey: &Member,
    trusted: Option<&VerifierKey>,
) -> Result<VerifierKey, Failure> {
    let text = std::str::from_utf8(&vkey.bytes).ok().and_then(|t| t.strip_suffix('\n'));
    let Some(claimed) = text.and_then(|t| t.parse::<VerifierKey>().ok()) else {
        return fail("signature", &vkey.name, Some(1), "it is not a verifier key of the form name+hash+base64");
    };
    let key = trusted.unwrap_or(&claimed);
    if *key != claimed {
        return fail("signature", &vkey.name, Some(1), format!("the log's key is not {key}"));
    }
    match Checkpoint::open(&note.bytes, key) {
        Ok((opened, _)) if opened == *checkpoint => Ok(key.clone()),
        Ok(_) => fail("signature", &note.name, None, "it differs from the checkpoint in the proof"),
        Err(CheckpointError::Note(error)) => fail("signature", &note.name, None, error),
        Err(error) => fail("signature", &note.name, Some(1), error),
    }
}

/// Compares an object with the digests in the statement.
fn object(statement: &Statement, object: &[u8]) -> Result<String, Failure> {
    let sha256 = hex::encode(<[u8; 32]>::from(Sha256::digest(object)));
    let blake3 = blake3::hash(object).to_hex().to_string();
    let mut compared = Vec::new();
    for (name, stated, ours) in [("sha256", &statement.sha256, sha256), ("blake3", &statement.blake3, blake3)] {
        match stated {
            Some(stated) if *stated == ours => compared.push(name),
            Some(stated) => return fail("object", "the object", None, format!("its {name} is {ours}, not {stated}")),
            None => {}
        }
    }
    if compared.is_empty() {
        return fail("object", "statement.json", None, "it has no digest of an object");
    }
    Ok(format!("{} bytes, {} as stated", object.len(), compared.join(" and ")))
}
