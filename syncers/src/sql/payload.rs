//! A plan's own instructions, as JSON lines in the content store: every row it writes or leaves in dispute with
//! all its values, so that nothing a plan replaces is ever lost.

use std::io::Write;

use cathedral_model::conflict;
use cathedral_model::ecosystem::Side;
use cathedral_model::ids::Digest;
use cathedral_model::ports::{Content, PortError};
use serde::{Deserialize, Serialize};

use super::catalog::Object;
use super::form::Cells;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// The agreed state that the plan was made from.
    Past {
        base: Option<Digest>,
    },
    /// The whole file is made from the other side's.
    CreateFile {
        side: Side,
    },
    /// A table that only the other side has.
    CreateTable {
        side: Side,
        table: String,
        statements: Vec<String>,
    },
    /// What a table must still look like for its rows to be written.
    Shape {
        side: Side,
        table: String,
        columns: Vec<String>,
        key: Vec<usize>,
        sql: Digest,
    },
    /// An index, view or trigger that only the other side has.
    CreateObject {
        side: Side,
        object: Object,
    },
    /// `user_version` or `application_id`.
    Number {
        side: Side,
        name: String,
        from: i64,
        to: i64,
    },
    Write(RowWrite),
    /// `sqlite_sequence` is raised.
    Sequence {
        side: Side,
        table: String,
        from: i64,
        to: i64,
    },
    /// A row in dispute, or tied to one: kept here with all its values.
    Dispute {
        table: String,
        base: Option<Cells>,
        hub: Option<Cells>,
        spoke: Option<Cells>,
    },
    /// The agreed state of this row is put back: its conflict is open again.
    Base {
        table: String,
        key: String,
        row: Option<Cells>,
    },
    End {
        steps: u64,
    },
}

/// One row of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RowWrite {
    pub side: Side,
    pub table: String,
    /// Hex of the `kval`, or of the row's hash in a table without key.
    pub key: String,
    pub before: Option<Cells>,
    pub after: Option<Cells>,
    /// Equal rows before and after.
    pub counts: (u64, u64),
    /// By which columns the row may refer to nothing: it did before an answer that is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dangles: Vec<Vec<String>>,
}

/// Stores the steps.
pub(super) fn store(content: &dyn Content, steps: &[Step]) -> Result<Digest, PortError> {
    let mut out = Vec::new();
    let end = Step::End { steps: steps.len() as u64 };
    for step in steps.iter().chain([&end]) {
        serde_json::to_writer(&mut out, step).map_err(|e| PortError::permanent(format!("plan: {e}")))?;
        out.write_all(b"\n").map_err(|e| PortError::io("plan", &e))?;
    }
    content.put(&out)
}

/// Loads the steps.
pub(super) fn load(content: &dyn Content, id: &Digest) -> Result<Vec<Step>, PortError> {
    let damaged = || PortError::Corrupt(format!("the instructions of plan {id} are damaged"));
    let raw = content.get(id)?;
    let lines = raw.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let mut steps = lines.map(serde_json::from_slice).collect::<Result<Vec<Step>, _>>().map_err(|_| damaged())?;
    match steps.pop() {
        Some(Step::End { steps: n }) if n == steps.len() as u64 => Ok(steps),
        _ => Err(damaged()),
    }
}

/// The side as the ports name it.
pub(super) fn port_side(side: conflict::Side) -> Side {
    if side == conflict::Side::Hub { Side::Hub } else { Side::Spoke }
}
