//! Snapshots and where they go.

use std::collections::BTreeMap;

use super::address::{Recipient, Redundancy, VaultUrl};
use super::names::Name;
use super::scalar::{Percent, Period, Schedule, Text};
use super::secret::{Given, Secret};
use super::table::{LATER, NOW, REHEARSED, REQUIRED, RETAINED, SAMPLED, section};

section! {
    /// Where snapshots go, and how many copies there must be.
    Backup {
        /// Where snapshots go.
        destinations: Vec<Destination> [NOW] = vec![Destination::local()] => "[{ name: local, url: \"file:.cathedral/vault\" }]";
        /// How packs are spread over the destinations.
        redundancy: Redundancy [NOW] = Redundancy::known("replicate") => "replicate";
        /// The share of local parity of a single destination.
        parity: Option<Percent> [LATER] = None => "5%";
        /// How many destinations must hold a snapshot before a run goes on; two, or one where there is one.
        quorum: Option<u32> [NOW] = None => "1";
        /// Who can read backups beside the hub's own key.
        recipients: Vec<Recipient> [NOW] = Vec::new() => "[age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]";
        /// When snapshots are made beside those of each run.
        schedule: Option<Schedule> [NOW] = None => "\"*/15 * * * *\"";
        /// What is kept; nothing is forgotten unless a rule is given.
        retention: Retention [RETAINED] = Retention::default() => "{ last: 24, daily: 30 }";
        /// When destinations are read back and checked.
        verify: Verify [NOW] = Verify::default() => "{ schedule: \"@daily\", sample: 5% }";
        /// When a restore is rehearsed.
        drill: Drill [REHEARSED] = Drill::default() => "{ schedule: \"@weekly\" }";
    }
}

section! {
    /// One place that keeps snapshots.
    Destination {
        /// Its name.
        name: Name [REQUIRED] = Name::default() => "local";
        /// Where it is.
        url: Given<VaultUrl> [REQUIRED] = Given::default() => "\"file:.cathedral/vault\"";
        /// What opens it.
        credentials: Option<Secret> [LATER] = None => "\"${file:.cathedral/keys/s3}\"";
        /// Who and where it is (`provider`, `region`, `account`), so that copies are spread.
        labels: BTreeMap<Text, Text> [NOW] = BTreeMap::new() => "{ provider: home, region: eu }";
    }
}

impl Destination {
    /// The destination used where the file names none.
    fn local() -> Self {
        Self {
            name: Name::known("local"),
            url: Given::plain(VaultUrl::known("file:.cathedral/vault")),
            ..Self::default()
        }
    }
}

section! {
    /// How many snapshots are kept; the newest of each period.
    Retention {
        /// The newest ones.
        last: Option<u32> [NOW] = None => "24";
        /// One for each of so many hours.
        hourly: Option<u32> [NOW] = None => "48";
        /// One for each of so many days.
        daily: Option<u32> [NOW] = None => "30";
        /// One for each of so many weeks.
        weekly: Option<u32> [NOW] = None => "12";
        /// One for each of so many months.
        monthly: Option<u32> [NOW] = None => "24";
        /// One for each of so many years.
        yearly: Option<u32> [NOW] = None => "10";
        /// All that are younger.
        within: Option<Period> [NOW] = None => "14d";
    }
}

section! {
    /// When destinations are read back and checked.
    Verify {
        /// When.
        schedule: Option<Schedule> [NOW] = None => "\"@daily\"";
        /// The share of data that is read each time.
        sample: Option<Percent> [SAMPLED] = None => "5%";
    }
}

section! {
    /// When a restore is rehearsed.
    Drill {
        /// When.
        schedule: Option<Schedule> [NOW] = None => "\"@weekly\"";
    }
}
