//! The signed log and who else keeps its head.

use super::address::WebUrl;
use super::scalar::{Period, Text};
use super::secret::Secret;
use super::table::{LATER, NOW, REQUIRED, section, words};

section! {
    /// The signed log and who else keeps its head.
    Integrity {
        /// Every commit is signed; heads are copied out at most this often.
        publish_every: Period [NOW] = Period::known("1s") => "1s";
        /// The anchors a snapshot must have before it counts as sealed.
        require: Vec<Seal> [NOW] = vec![Seal::Any] => "[any]";
        /// Whether leaves are in the clear; otherwise they are salted hashes.
        public: Openness [NOW] = Openness(false) => "false";
        /// Third parties that put their time on the log's head.
        anchors: Vec<Anchor> [LATER] = Vec::new() => "[{ kind: rfc3161, url: \"https://tsa.example\" }]";
        /// Those who check the log and sign its head as well.
        witnesses: Vec<Text> [LATER] = Vec::new() => "[\"example.org/witness+1d9a4e2b+key\"]";
        /// How often the head is anchored.
        every: Period [LATER] = Period::known("10m") => "10m";
    }
}

words! {
    /// What seals a snapshot.
    Seal {
        /// Any anchor that is set up; none if none is.
        Any = "any" [NOW];
        /// An EVM chain.
        Evm = "evm" [LATER];
        /// OpenTimestamps.
        Opentimestamps = "opentimestamps" [LATER];
        /// An RFC 3161 time stamp.
        Rfc3161 = "rfc3161" [LATER];
    }
}

/// Whether leaves are in the clear; `true` is not available yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Openness(pub bool);

impl super::table::Reads for Openness {
    const SHAPE: super::table::Shape = super::table::Shape::Bool;

    fn read<'t>(node: &'t super::tree::Node<'t>, cx: &mut super::read::Cx<'t>) -> Option<Self> {
        let is_public = bool::read(node, cx)?;
        if is_public && !cx.is_later() && !cx.caps.everything {
            let wrong = super::problem::Wrong::not_yet("leaves in the clear are not built yet");
            cx.report(node, wrong.why("the log holds salted hashes, which give nothing away").allowed(["false"]));
        }
        Some(Self(is_public))
    }
}

section! {
    /// A third party that puts its time on the log's head.
    Anchor {
        /// Which kind it is.
        kind: AnchorKind [REQUIRED] = AnchorKind::Rfc3161 => "evm";
        /// The address of a node of the chain.
        rpc: Option<WebUrl> [NOW] = None => "\"http://127.0.0.1:8545\"";
        /// The number of the chain.
        chain_id: Option<u64> [NOW] = None => "31337";
        /// The address of the contract, or `deploy`.
        contract: Option<Text> [NOW] = None => "deploy";
        /// The key that pays.
        key: Option<Secret> [NOW] = None => "\"${file:.cathedral/keys/evm}\"";
        /// How many blocks must stand on top.
        confirmations: Option<u32> [NOW] = None => "12";
        /// What may be spent.
        budget: Option<Text> [NOW] = None => "\"0.01 ether/day\"";
        /// The calendars of OpenTimestamps.
        calendars: Vec<WebUrl> [NOW] = Vec::new() => "[\"https://calendar.example\"]";
        /// The address of the time stamp service.
        url: Option<WebUrl> [NOW] = None => "\"https://tsa.example\"";
    }
}

words! {
    /// A kind of anchor.
    AnchorKind {
        /// An EVM chain.
        Evm = "evm" [NOW];
        /// OpenTimestamps.
        Opentimestamps = "opentimestamps" [NOW];
        /// An RFC 3161 time stamp.
        Rfc3161 = "rfc3161" [NOW];
    }
}
