//! Names and numbers that cross ports: never a bare `String` or `u64`.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::time::Timestamp;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct IdError {
    pub what: &'static str,
    pub text: String,
    pub why: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id! {
    /// The name of a spoke: unique in its ecosystem, safe as a file name and as part of a ref name.
    SpokeName
}
text_id! {
    /// The name of a backup destination.
    DestinationName
}
text_id! {
    /// One running hub process.
    NodeId
}
text_id! {
    /// A snapshot: a ULID (26 characters of Crockford base 32, sortable by time).
    SnapshotId
}

impl SpokeName {
    /// Checks the name: 1 to 100 of `A-Z a-z 0-9 . _ -`, no leading `-` or `.`, no `..`, no `.lock` end.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_name("spoke name", text).map(|()| Self(text.to_owned()))
    }
}

impl DestinationName {
    /// Checks the name by the same rule as a spoke's.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_name("destination name", text).map(|()| Self(text.to_owned()))
    }
}

impl NodeId {
    /// Takes any text: node ids are made by the hub itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    let fail = |why| Err(IdError { what, text: text.chars().take(120).collect(), why });
    if text.is_empty() || text.len() > 100 {
        return fail("it must have 1 to 100 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return fail("only letters, digits, '.', '_' and '-' are allowed");
    }
    if text.starts_with(['-', '.']) || text.contains("..") || text.ends_with(['.']) || text.ends_with(".lock") {
        return fail("it must not start with '-' or '.', hold '..', or end with '.' or '.lock'");
    }
    Ok(())
}

/// A ULID begins with 48 bits of milliseconds, before 80 random ones.
const ULID_MS_MAX: u128 = (1 << 48) - 1;
const ULID_MS_SHIFT: u32 = 80;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl SnapshotId {
    /// Makes a ULID from a time and 10 random bytes.
    #[must_use]
    pub fn generate(at: Timestamp, entropy: [u8; 10]) -> Self {
        let ms = u128::from(u64::try_from(at.0 / 1_000).unwrap_or(0)).min(ULID_MS_MAX);
        let mut bits = ms << ULID_MS_SHIFT;
        for (i, byte) in entropy.iter().enumerate() {
            bits |= u128::from(*byte) << (72 - 8 * i);
        }
        Self::of_bits(bits)
    }

    fn of_bits(bits: u128) -> Self {
        Self((0..26).map(|i| char::from(CROCKFORD[((bits >> (125 - 5 * i)) & 31) as usize])).collect())
    }

    fn bits(&self) -> u128 {
        let digit = |b: u8| CROCKFORD.iter().position(|c| *c == b).unwrap_or(0) as u128;
        self.0.bytes().fold(0, |bits, b| (bits << 5) | digit(b))
    }

    /// Returns this id when it is greater than `newest`, else the next one after that: the order of ids is
    /// the order of taking also when a clock has gone back.
    #[must_use]
    pub fn after(self, newest: &Self) -> Self {
        if self > *newest {
            return self;
        }
        let (own, last) = (self.bits(), newest.bits());
        let ms = last >> ULID_MS_SHIFT;
        if ms < ULID_MS_MAX {
            Self::of_bits(((ms + 1) << ULID_MS_SHIFT) | (own & ((1 << ULID_MS_SHIFT) - 1)))
        } else {
            Self::of_bits(last.saturating_add(1))
        }
    }

    /// Checks a full id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let upper = text.to_ascii_uppercase();
        if upper.len() == 26 && upper.bytes().all(|b| CROCKFORD.contains(&b)) && upper.as_bytes()[0] <= b'7' {
            Ok(Self(upper))
        } else {
            let why = "it must be 26 characters of 0-9 A-Z without I, L, O, U";
            Err(IdError { what: "snapshot id", text: text.chars().take(60).collect(), why })
        }
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id! {
    /// A run, numbered from 1 by the store.
    RunId
}
number_id! {
    /// A conflict in the inbox, numbered from 1 by the store.
    ConflictId
}
number_id! {
    /// A position in a run's journal: 0, 1, 2, … without gaps.
    Seq
}
number_id! {
    /// A position in the event log: strictly growing, not necessarily without gaps.
    Cursor
}
number_id! {
    /// A fencing token: a holder with a smaller one has been replaced and must stop writing.
    Fence
}
impl Fence {
    /// No greater one is ever handed out: fences follow the clock in milliseconds, and this is the year 2200. What is
    /// greater was damaged.
    pub const GREATEST: Self = Self(7_258_118_400_000);
}

number_id! {
    /// The index of a leaf in the transparency log.
    LeafIndex
}

/// A BLAKE3 digest, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Reads 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).map(|()| Self(out)).map_err(|_| IdError {
            what: "digest",
            text: text.chars().take(80).collect(),
            why: "64 hex digits are needed",
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", hex::encode(&self.0[..6]))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_an_option_a_path_or_a_broken_ref_are_refused() {
        for bad in ["", "-x", ".git", "a/b", "a..b", "a b", "a.lock", "é", "a\n", "x."] {
            assert!(SpokeName::new(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["circuitum99", "tesseract-bridge", "a.b_c"] {
            assert!(SpokeName::new(good).is_ok(), "{good:?} must be accepted");
        }
    }

    #[test]
    fn snapshot_ids_sort_by_time_and_read_back() {
        let early = SnapshotId::generate(Timestamp(1_700_000_000_000_000), [255; 10]);
        let late = SnapshotId::generate(Timestamp(1_700_000_000_001_000), [0; 10]);
        assert!(early < late);
        assert_eq!(SnapshotId::parse(late.as_str()), Ok(late));
        assert!(SnapshotId::parse("../../etc/passwd").is_err());
    }

    #[test]
    fn snapshot_ids_go_on_when_the_clock_goes_back() {
        let at = |us| SnapshotId::generate(Timestamp(us), [7; 10]);
        let (now, ahead) = (at(1_700_000_000_000_000), at(1_900_000_000_000_000));
        assert_eq!(now.clone().after(&at(1_600_000_000_000_000)), now, "a clock that goes forward decides");
        let next = now.clone().after(&ahead);
        assert!(next > ahead && now.clone().after(&next) > next, "{next}");
        assert_eq!(SnapshotId::parse(next.as_str()), Ok(next));
        // Clocks far in the future or before 1970 still give ids, in order.
        let (last, first) = (at(i64::MAX), at(i64::MIN));
        assert!(first < now && now < last);
        assert!(now.after(&last) > last);
        assert!(first.clone().after(&first) > first);
    }
}
