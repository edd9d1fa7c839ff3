//! Failures as people read them: what happened, why, what to do next.

use cathedral_engine::{EngineError, Stand, Standing};
use cathedral_model::config::Problem;
use cathedral_model::ids::RunId;
use cathedral_model::ports::{Cause, PortError};
use cathedral_model::run::exit_code;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code (`cathedral help codes`).
    pub code: u8,
    /// The catalogue number (`cathedral help C2103`).
    pub id: &'static str,
    pub what: String,
    pub why: Option<String>,
    pub next: Vec<String>,
    /// Lines shown before the message as they are, for example a list of problems with excerpts.
    pub details: Vec<String>,
    /// Problems of a configuration, shown before the message.
    pub problems: Vec<Problem>,
    /// Structured details for `--json`.
    pub data: Option<serde_json::Value>,
}

impl Failure {
    /// Makes a failure; `what` is lower case and names the thing.
    pub fn new(code: u8, id: &'static str, what: impl Into<String>) -> Self {
        Self { code, id, what: what.into(), why: None, next: vec![], details: vec![], problems: vec![], data: None }
    }

    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    pub fn data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Says of each spoke whether it is as it was or changed.
    pub fn standing(mut self, run: Option<RunId>, standing: &[Standing]) -> Self {
        if let Some(run) = run {
            self.what = format!("run {run} has stopped: {}", self.what);
        }
        if standing.is_empty() {
            return self;
        }
        let told = told(standing);
        self.why = Some(self.why.map_or_else(|| told.clone(), |why| format!("{why}; {told}")));
        self.data(serde_json::json!({ "run": run, "spokes": standing }))
    }

    /// The failure of something that was asked for by name.
    pub fn unknown(kind: &str, name: &str, known: &[String]) -> Self {
        let failure = Self::new(4, "C1404", format!("there is no {kind} {name:?}"));
        if known.is_empty() {
            return failure.why(format!("there are no {kind}s yet")).next("cathedral status");
        }
        let shown: Vec<&str> = known.iter().take(12).map(String::as_str).collect();
        let more = if known.len() > shown.len() { ", …" } else { "" };
        let failure = failure.why(format!("known: {}{more}", shown.join(", ")));
        match cathedral_model::config::nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => failure.next(format!("did you mean {nearest}?")),
            None => failure.next("one of these names"),
        }
    }

    /// Fills in what every message has: a reason and a next step, in general words by the exit code.
    pub fn complete(mut self) -> Self {
        let (why, next) = match self.code {
            2 => ("what was typed does not say enough; nothing was changed", "cathedral help COMMAND"),
            3 => ("the configuration cannot be used as it is; nothing was changed", "cathedral config validate"),
            4 => ("nothing of that name is known here", "cathedral status --all"),
            5 => ("rights, credentials or a key are missing", "cathedral doctor"),
            6 => ("it did not answer; nothing of it was changed", "cathedral doctor"),
            7 => {
                ("it was not confirmed, and it could destroy something", "repeat the command with what is named above")
            }
            11 => ("both sides changed the same thing", "cathedral conflicts"),
            12 => ("the rest is done", "repeat the command"),
            20 | 21 => ("data is not what its name, signature or log entry says", "cathedral verify --level full"),
            75 => ("somebody else is at it", "try again in a moment"),
            _ => (
                "the message names the cause; what was recorded before stays valid",
                "repeat the command when the cause is gone",
            ),
        };
        self.why.get_or_insert_with(|| why.to_owned());
        if self.next.is_empty() {
            self.next.push(next.to_owned());
        }
        self
    }

    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::from(PortError::io(what, error))
    }

    /// A file named on the command line that cannot be read.
    pub fn read(path: &std::path::Path, error: &std::io::Error) -> Self {
        let failure = Self::io(&super::Output::safe_path(path), error);
        failure.why("the file that was named cannot be read; nothing was changed").next("check the path and its rights")
    }

    /// A file or folder named on the command line that cannot be written.
    pub fn write(path: &std::path::Path, error: &std::io::Error) -> Self {
        let failure = Self::io(&super::Output::safe_path(path), error);
        failure.why("nothing can be written there").next("name another place, or check its rights")
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        let message = error.to_string();
        match &error {
            PortError::Corrupt(_) => Self::new(20, "C2001", message)
                .why("data is not what its name, signature or log entry says; nothing was overwritten")
                .next("cathedral verify --level full    says what is affected and where an intact copy is"),
            PortError::Fenced(_) => Self::new(75, "C7502", message)
                .why("another process drives this run now; this one stopped before writing")
                .next("cathedral runs    shows who"),
            PortError::Transient { cause, .. } | PortError::Permanent { cause, .. } => {
                let code = exit_code(*cause);
                let failure = Self::new(code, catalogue(*cause), message);
                match cause {
                    Cause::Full => failure
                        .why("there is no room left; what was written before stays valid")
                        .next("make room, then repeat the command (or cathedral sync): it goes on where it stopped"),
                    Cause::Denied => failure.next("check the rights or credentials, then repeat the command"),
                    Cause::Key => failure
                        .why("without the right key the vault cannot be read")
                        .next("put hub.key back under .cathedral/keys/")
                        .next("cathedral restore latest --offline --from file:VAULT --key-file HUB.KEY --to DIR    needs the key alone"),
                    Cause::Unreachable => failure.next("cathedral doctor    tries every spoke and destination"),
                    Cause::Busy => failure.next("try again in a moment"),
                    Cause::Refused => failure.why("a limit that protects data stopped it; nothing was changed"),
                    Cause::NotFound | Cause::Invalid | Cause::Other => failure,
                }
            }
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Port(port) => port.into(),
            EngineError::Stopped { run, standing, source } => Self::from(*source).standing(run, &standing),
            EngineError::Unfit { conflict, ref why, is_typed } => {
                let (code, entry) = if is_typed { (2, "C1201") } else { (7, "C1701") };
                Self::new(code, entry, error.to_string())
                    .why(format!("{}; nothing was recorded or changed", crate::cli::output::safe(why)))
                    .next(format!("cathedral conflicts show {conflict}"))
            }
            EngineError::NoRun(run) => Self::new(4, "C1404", format!("there is no run {run}")),
            EngineError::Parked(why) => Self::new(11, "C1101", format!("the run waits: {why}")),
            other @ (EngineError::Panicked | EngineError::Illegal(_)) => Self::new(1, "C1002", other.to_string())
                .why("this is a fault of the program; the journal is intact")
                .next("repeat the command; if it stays, report it with `cathedral run log last`"),
        }
    }
}

/// Each spoke by how it stands, in one line.
pub fn told(standing: &[Standing]) -> String {
    let of = |state: Stand| {
        let names: Vec<&str> = standing.iter().filter(|s| s.state == state).map(|s| s.spoke.as_str()).collect();
        names.join(", ")
    };
    let mut parts = vec![];
    for (state, words, more) in [
        (Stand::New, "new", ""),
        (Stand::Part, "new in part", " (what is named above is as it was)"),
        (Stand::Old, "as it was", ""),
        (Stand::Unknown, "unknown", " (it was being changed: the next sync finishes that and says)"),
    ] {
        let names = of(state);
        if !names.is_empty() {
            parts.push(format!("{words}: {names}{more}"));
        }
    }
    parts.join("; ")
}

fn catalogue(cause: Cause) -> &'static str {
    match cause {
        Cause::Other => "C1002",
        Cause::NotFound => "C1404",
        Cause::Denied => "C1501",
        Cause::Unreachable => "C1601",
        Cause::Refused => "C1701",
        Cause::Busy => "C7501",
        Cause::Full => "C1801",
        Cause::Key => "C1502",
        Cause::Invalid => "C1301",
    }
}
