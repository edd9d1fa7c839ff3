//! The instructions of a plan: JSON lines with what each step expects to find.

use cathedral_model::conflict::tree::{Body, Node};
use cathedral_model::ecosystem::Side;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use serde::{Deserialize, Serialize};

use super::names;

pub const SCHEMA: &str = "cathedral.files-plan/v1";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub schema: String,
    pub spoke: String,
    /// The agreed state that the plan starts from; none when it was made without one.
    pub base: Option<Digest>,
    /// Which roots were there.
    pub hub_exists: bool,
    pub spoke_exists: bool,
    /// The roots' marks did not fit when the plan was made: whoever approved the plan approved that too.
    #[serde(default)]
    pub new_marks: bool,
}

/// A node as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Thing {
    File { b3: Digest, size: u64, mode: Option<u32> },
    Dir { mode: Option<u32> },
    Symlink { target: String },
}

/// Where the bytes of a write come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The same path on the other side.
    Other,
    /// The content store.
    Store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    Mkdir,
    Write,
    Symlink,
    Attrs,
    Remove,
    Rmdir,
}

/// One later line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Step(Step),
    Agree(Agree),
}

/// One change of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub op: Call,
    pub at: Side,
    /// Escaped.
    pub path: String,
    pub expect: Option<Thing>,
    pub then: Option<Thing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<From>,
    /// Carried along, never looked at for a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime_ns: Option<i64>,
    pub why: String,
}

/// A path on which the base moves when its steps are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agree {
    pub agree: String,
    pub node: Option<Thing>,
}

/// Everything a plan says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub header: Header,
    pub steps: Vec<Step>,
    pub agreed: Vec<Agree>,
}

impl Script {
    /// Writes the lines.
    pub fn encode(&self) -> Result<Vec<u8>, PortError> {
        let mut out = vec![];
        let mut line = |value: serde_json::Result<Vec<u8>>| {
            out.extend(value.map_err(|e| PortError::permanent(format!("a plan cannot be written: {e}")))?);
            out.push(b'\n');
            Ok::<(), PortError>(())
        };
        line(serde_json::to_vec(&self.header))?;
        self.steps.iter().try_for_each(|step| line(serde_json::to_vec(step)))?;
        self.agreed.iter().try_for_each(|agree| line(serde_json::to_vec(agree)))?;
        Ok(out)
    }

    /// Reads the lines back.
    pub fn decode(bytes: &[u8]) -> Result<Self, PortError> {
        let bad = |e: serde_json::Error| PortError::Corrupt(format!("a stored plan cannot be read: {e}"));
        let mut lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let header: Header = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(bad)?;
        if header.schema != SCHEMA {
            return Err(PortError::Corrupt(format!("a plan of the form {:?} cannot be applied", header.schema)));
        }
        let mut script = Self { header, steps: vec![], agreed: vec![] };
        for line in lines {
            match serde_json::from_slice(line).map_err(bad)? {
                Line::Step(step) => script.steps.push(step),
                Line::Agree(agree) => script.agreed.push(agree),
            }
        }
        Ok(script)
    }
}

impl Thing {
    pub fn of(node: &Node) -> Self {
        match &node.body {
            Body::File { b3, size } => Self::File { b3: Digest(*b3), size: *size, mode: node.mode },
            Body::Dir => Self::Dir { mode: node.mode },
            Body::Symlink { target } => Self::Symlink { target: names::escape(target) },
        }
    }

    pub fn node(&self) -> Result<Node, PortError> {
        Ok(match self {
            Self::File { b3, size, mode } => Node { body: Body::File { b3: b3.0, size: *size }, mode: *mode },
            Self::Dir { mode } => Node { body: Body::Dir, mode: *mode },
            Self::Symlink { target } => Node { body: Body::Symlink { target: path_of(target)? }, mode: None },
        })
    }
}

/// Reads an escaped path.
pub fn path_of(text: &str) -> Result<Vec<u8>, PortError> {
    names::unescape(text).ok_or_else(|| PortError::Corrupt(format!("{text:?} is not an escaped path")))
}

/// Reads a path that will be touched.
pub fn safe_path_of(text: &str) -> Result<Vec<u8>, PortError> {
    let path = path_of(text)?;
    match names::refuse(&path) {
        None => Ok(path),
        Some(why) => Err(PortError::Corrupt(format!("a plan names {text:?}: {why}"))),
    }
}

/// Short text of a node for people, from which [`read_shown`] gets what is not bytes.
pub fn shown(node: &Node) -> String {
    match &node.body {
        Body::File { b3, size } => {
            let mode = node.mode.map(|mode| format!(", mode {mode:04o}")).unwrap_or_default();
            format!("file, {size} bytes{mode}, {}", hex::encode(&b3[..6]))
        }
        Body::Dir => "directory".to_owned(),
        Body::Symlink { target } => format!("link to {}", names::escape(target)),
    }
}

/// The same for a file whose content was not kept: its whole digest tells what it was.
pub fn shown_by_digest(node: &Node) -> String {
    let text = shown(node);
    match (&node.body, text.rsplit_once(", ")) {
        (Body::File { b3, .. }, Some((facts, _))) => format!("{facts}, not kept, {}", Digest(*b3)),
        _ => text,
    }
}

/// Makes the node that [`shown`] described. The content's digest is given, or is the text's last part.
pub fn read_shown(text: &str, content: Option<Digest>) -> Option<Node> {
    if let Some(target) = text.strip_prefix("link to ") {
        return Some(Node { body: Body::Symlink { target: names::unescape(target)? }, mode: None });
    }
    let mut parts = text.strip_prefix("file, ")?.split(", ");
    let size = parts.next()?.strip_suffix(" bytes")?.parse().ok()?;
    let mode = parts.clone().find_map(|part| part.strip_prefix("mode "));
    let mode = mode.map(|digits| u32::from_str_radix(digits, 8)).transpose().ok()?;
    let b3 = match content {
        Some(id) => id,
        None => Digest::parse(parts.last()?).ok()?,
    };
    Some(Node { body: Body::File { b3: b3.0, size }, mode })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let b3 = Digest::of(b"x");
        let file = |mode| Node { body: Body::File { b3: b3.0, size: 12 }, mode };
        let link = Node { body: Body::Symlink { target: b"a, b\n\xff".to_vec() }, mode: None };
        for node in [file(Some(0o640)), file(None), link] {
            assert_eq!(read_shown(&shown(&node), Some(b3)).unwrap(), node);
        }
        let full = format!("{}, {b3}", shown(&file(Some(0o644))));
        assert_eq!(read_shown(&full, None).unwrap(), file(Some(0o644)));
        assert_eq!(read_shown(&shown(&file(Some(0o644))), None), None, "a short digest is not enough");
        assert_eq!(read_shown("directory", None), None);
    }

    #[test]
    fn a_plan_reads_back() {
        let step = Step {
            op: Call::Write,
            at: Side::Spoke,
            path: "a/\\xff".into(),
            expect: None,
            then: Some(Thing::File { b3: Digest::of(b"y"), size: 1, mode: Some(0o644) }),
            source: Some(From::Other),
            mtime_ns: Some(-5),
            why: "created on hub".into(),
        };
        let header = Header {
            schema: SCHEMA.into(),
            spoke: "s".into(),
            base: None,
            hub_exists: true,
            spoke_exists: false,
            new_marks: false,
        };
        let agreed =
            vec![Agree { agree: "a/\\xff".into(), node: step.then.clone() }, Agree { agree: "b".into(), node: None }];
        let script = Script { header, steps: vec![step], agreed };
        assert_eq!(Script::decode(&script.encode().unwrap()).unwrap(), script);
        assert!(Script::decode(b"").is_err());
        assert!(Script::decode(b"{\"schema\":\"other\"}").is_err());
    }
}
