//! Databases.

use std::collections::BTreeMap;

use super::address::DbUrl;
use super::names::{ColumnRule, Name, TablePattern};
use super::repository::DataSync;
use super::scalar::{Frequency, Text, Zone};
use super::secret::Given;
use super::table::{LATER, NOW, REQUIRED, section, words};

section! {
    /// One database of the ecosystem: a copy at the hub and one at the spoke.
    Database {
        /// The name of the spoke.
        name: Name [REQUIRED] = Name::default() => "billing";
        /// What it is there for, in your words.
        role: Text [NOW] = Text::default() => "Accounts";
        /// The hub's copy.
        hub: Given<DbUrl> [REQUIRED] = Given::default() => "sqlite:data/billing.db";
        /// The spoke's copy.
        url: Given<DbUrl> [REQUIRED] = Given::default() => "sqlite:../billing/app.db";
        /// Which way changes flow.
        data_sync: DataSync [NOW] = DataSync::Bidirectional => "bidirectional";
        /// How often it is brought up to date.
        update_frequency: Frequency [NOW] = Frequency::RealTime => "15m";
        /// The time zone of a cron schedule; UTC unless given.
        time_zone: Option<Zone> [NOW] = None => "Europe/Berlin";
        /// Which tables are carried along.
        tables: Tables [NOW] = Tables::default() => "{ include: [\"*\"], exclude: [\"_*\"] }";
        /// Per table, a condition that a row must meet to be carried along.
        filters: BTreeMap<Text, Text> [LATER] = BTreeMap::new() => "{ customers: \"region = 'eu'\" }";
        /// Per table and column, what the spoke sees instead of the value.
        masks: BTreeMap<Text, BTreeMap<Text, Text>> [LATER] = BTreeMap::new() => "{ customers: { email: hash, phone: \"null\" } }";
        /// How fine the merge is.
        merge: DatabaseMerge [NOW] = DatabaseMerge::Cell => "cell";
        /// What is done with a conflict; `default`, or one column or table.
        on_conflict: BTreeMap<ColumnRule, DatabasePolicy> [NOW] = BTreeMap::from([(ColumnRule::known("default"), DatabasePolicy::Queue)]) => "{ default: queue }";
        /// Whether triggers run for changes that are carried in.
        triggers: Triggers [NOW] = Triggers::Suppress => "suppress";
    }
}

impl Database {
    /// What is done with a conflict where no column has a rule of its own.
    #[must_use]
    pub fn default_policy(&self) -> DatabasePolicy {
        self.on_conflict.get(&ColumnRule::known("default")).copied().unwrap_or(DatabasePolicy::Queue)
    }
}

section! {
    /// Which tables are carried along.
    Tables {
        /// Those carried along.
        include: Vec<TablePattern> [NOW] = vec![TablePattern::known("*")] => "[\"*\"]";
        /// Those left out again.
        exclude: Vec<TablePattern> [NOW] = Vec::new() => "[\"_*\"]";
    }
}

words! {
    /// How fine a merge of rows is.
    DatabaseMerge {
        /// Changes to different columns of one row are put together.
        Cell = "cell" [NOW];
        /// A row changed on both sides is a conflict.
        Row = "row" [NOW];
        /// Any change on both sides is a conflict.
        None = "none" [NOW];
    }
}

words! {
    /// What is done with a conflict in a database.
    DatabasePolicy {
        /// It waits for a person.
        Queue = "queue" [NOW];
        /// The hub's value is taken.
        Hub = "hub" [NOW];
        /// The spoke's value is taken.
        Spoke = "spoke" [NOW];
        /// The newer value is taken.
        Newest = "newest" [LATER];
        /// Both changes are added to the last agreed value.
        SumOfDeltas = "sum_of_deltas" [LATER];
        /// The larger value is taken.
        Max = "max" [LATER];
        /// The smaller value is taken.
        Min = "min" [LATER];
        /// The values of both sets are put together.
        Union = "union" [LATER];
    }
}

words! {
    /// Whether triggers run for changes that are carried in.
    Triggers {
        /// They do not: their effects are carried in as rows.
        Suppress = "suppress" [NOW];
        /// They do.
        Fire = "fire" [LATER];
    }
}
