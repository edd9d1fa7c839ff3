//! Folders.

use super::address::FilePlace;
use super::names::{Glob, LocalPath, Name};
use super::repository::DataSync;
use super::scalar::{Frequency, Text, Zone};
use super::secret::Given;
use super::table::{LATER, NOW, REQUIRED, section, words};

section! {
    /// One folder of the ecosystem: a copy at the hub and one elsewhere.
    FileTree {
        /// The name of the spoke.
        name: Name [REQUIRED] = Name::default() => "media";
        /// What it is there for, in your words.
        role: Text [NOW] = Text::default() => "Pictures";
        /// The hub's copy.
        hub: Given<LocalPath> [REQUIRED] = Given::default() => "data/media";
        /// The other copies.
        paths: Vec<Given<FilePlace>> [REQUIRED] = Vec::new() => "[/srv/media]";
        /// Which way changes flow.
        data_sync: DataSync [NOW] = DataSync::Bidirectional => "bidirectional";
        /// How often it is brought up to date.
        update_frequency: Frequency [NOW] = Frequency::RealTime => "15m";
        /// The time zone of a cron schedule; UTC unless given.
        time_zone: Option<Zone> [NOW] = None => "Europe/Berlin";
        /// Files that are left alone on both sides.
        ignore: Vec<Glob> [NOW] = Vec::new() => "[\"*.tmp\", .DS_Store]";
        /// What is kept of a file beside its content.
        preserve: Vec<Preserve> [NOW] = vec![Preserve::Mode, Preserve::Mtime, Preserve::Symlinks] => "[mode, mtime, symlinks]";
        /// How many replaced contents of a path are kept.
        versions: u32 [NOW] = 10 => "10";
        /// Files that are merged as shared state documents.
        documents: Vec<Glob> [NOW] = Vec::new() => "[\"state/*.json\"]";
    }
}

words! {
    /// A property of a file beside its content.
    Preserve {
        /// The permission bits.
        Mode = "mode" [NOW];
        /// The time of the last change.
        Mtime = "mtime" [NOW];
        /// Symbolic links as links.
        Symlinks = "symlinks" [NOW];
        /// Extended attributes of the user.
        Xattrs = "xattrs" [LATER];
        /// POSIX access lists.
        Acl = "acl" [LATER];
        /// The owner, by name.
        Owner = "owner" [LATER];
    }
}
