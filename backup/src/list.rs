//! Long lists of chunks, cut where their content says so that a change touches few of their pieces.
//!
//! A list is a chunk of JSON lines: `{"level":0,"n":…,"t":"list"}`, then one `{"id":…,"n":…}` for each
//! member, where `n` counts what the member stands for (bytes of a file, rows of a table). Members of
//! a list of level 1 and more are lists themselves.

use cathedral_model::canonical;
use cathedral_model::ids::Digest;
use cathedral_model::ports::PortError;
use serde::{Deserialize, Serialize};

use crate::hash::Hashes;
use crate::index::Kind;
use crate::sink::Context;
use crate::vault::Reader;

const MOST: usize = 8_192;
const ONE_IN: u32 = 1_024;
const LEVELS: u32 = 16;

/// One member of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: Digest,
    pub n: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    t: String,
    level: u32,
    n: u64,
}

/// A list under construction.
#[derive(Default)]
pub struct ListWriter {
    levels: Vec<Vec<Member>>,
}

impl ListWriter {
    /// Appends a member.
    pub(crate) fn push(&mut self, context: &Context, member: Member) -> Result<(), PortError> {
        self.push_at(context, 0, member)
    }

    fn push_at(&mut self, context: &Context, level: usize, member: Member) -> Result<(), PortError> {
        if self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(member);
        if ends(&context.hashes, &self.levels[level], &member) { self.close(context, level) } else { Ok(()) }
    }

    fn close(&mut self, context: &Context, level: usize) -> Result<(), PortError> {
        let members = std::mem::take(&mut self.levels[level]);
        let n = members.iter().map(|m| m.n).sum();
        let id = context.put(Kind::List, to_frame(level as u32, &members)?)?;
        self.push_at(context, level + 1, Member { id, n })
    }

    /// Closes the list and returns its root; none when it is empty.
    pub(crate) fn finish(mut self, context: &Context) -> Result<Option<Digest>, PortError> {
        let mut level = 0;
        while level < self.levels.len() {
            let is_top = level + 1 == self.levels.len();
            match self.levels[level].as_slice() {
                [only] if is_top && level > 0 => return Ok(Some(only.id)),
                [] => {}
                _ => self.close(context, level)?,
            }
            level += 1;
        }
        Ok(None)
    }
}

fn ends(hashes: &Hashes, members: &[Member], last: &Member) -> bool {
    members.len() >= MOST || (members.len() >= 2 && hashes.cuts_after(&last.id.0, ONE_IN))
}

fn to_frame(level: u32, members: &[Member]) -> Result<Vec<u8>, PortError> {
    let unwritable = |e: canonical::CanonicalError| PortError::permanent(format!("list: {e}"));
    let header = Header { t: "list".into(), level, n: members.len() as u64 };
    let mut out = canonical::to_string(&header).map_err(unwritable)?;
    out.push('\n');
    for member in members {
        out.push_str(&canonical::to_string(member).map_err(unwritable)?);
        out.push('\n');
    }
    Ok(out.into_bytes())
}

fn from_frame(frame: &[u8]) -> Result<(u32, Vec<Member>), String> {
    let mut lines = frame.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let header: Header = serde_json::from_slice(lines.next().ok_or("list is empty")?).map_err(|e| e.to_string())?;
    let members: Vec<Member> =
        lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if header.t != "list" || header.level > LEVELS || header.n != members.len() as u64 {
        return Err("it is no list".into());
    }
    Ok((header.level, members))
}

/// Visits the members of a list in order; `node` sees the ids of the lists themselves.
pub(crate) fn visit(
    reader: &mut Reader,
    root: &Digest,
    node: &mut dyn FnMut(&Digest),
    member: &mut dyn FnMut(&mut Reader, &Member) -> Result<(), PortError>,
) -> Result<(), PortError> {
    visit_at(reader, root, None, node, member)
}

fn visit_at(
    reader: &mut Reader,
    id: &Digest,
    expect: Option<u32>,
    node: &mut dyn FnMut(&Digest),
    member: &mut dyn FnMut(&mut Reader, &Member) -> Result<(), PortError>,
) -> Result<(), PortError> {
    node(id);
    let corrupt = |why: &str| PortError::Corrupt(format!("list {id}: {why}"));
    let (level, members) = from_frame(&reader.chunk(id)?).map_err(|why| corrupt(&why))?;
    if expect.is_some_and(|e| e != level) {
        return Err(corrupt("it has a wrong level"));
    }
    for one in &members {
        match level.checked_sub(1) {
            None => member(reader, one)?,
            Some(below) => visit_at(reader, &one.id, Some(below), node, member)?,
        }
    }
    Ok(())
}
